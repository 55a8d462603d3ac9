"""Changes of the set while clients work: nodes that are replaced, and nodes that get a newer release."""

import random
import time

from nodes import Set
from outages import isolate, names


def replace_member(brokers: Set, chance: random.Random) -> str:
    """A new node joins, and one that is there ends and is removed: the leader, or another one. No set forgets a live node."""
    joined = brokers.join()
    leaves = chance.choice([node for node in brokers.members if node is not joined])
    leaves.kill() if chance.random() < 0.5 else leaves.stop()
    brokers.forget(leaves)
    leaves.kill()
    return f"{joined.name} replaces {leaves.name}"


def replace_beside_cut(brokers: Set, chance: random.Random) -> str:
    """A new node joins while a follower is cut off. Then the leader and another node are killed, one of them for good, and the cut
    ends: the set is whole again when the node that is gone is forgotten."""
    apart = brokers.followers(chance)[:1]
    isolate(brokers, apart)
    joined = brokers.join()
    leader = brokers.wait_leader()
    others = [node for node in brokers.members if node not in (joined, leader, *apart)]
    killed = [leader, *others[:1]]
    chance.shuffle(killed)
    for node in killed:
        node.kill()
        time.sleep(chance.uniform(0, 0.5))
    brokers.heal_network()
    leaves, *back = killed
    for node in back:
        node.start()
    brokers.forget(leaves)
    return f"{joined.name} replaces {leaves.name}, while {names(apart)} was cut off; {names(back)} was killed"


def upgrade(brokers: Set, chance: random.Random) -> str:
    """A node that runs the old release stops, and starts with the new one."""
    old = [node for node in brokers.members if node.is_old]
    if not old:
        return "none: all are new"
    node = chance.choice(old)
    node.stop()
    node.is_old = False
    node.start()
    return node.name
