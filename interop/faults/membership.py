"""Changes of the set while clients work: nodes that are replaced, and nodes that get a newer release."""

import random
import time

from nodes import Node, Set
from outages import isolate, names

MEMBERS_MAX = 5


def replace_member(brokers: Set, chance: random.Random) -> str:
    """A new node joins, and one that is there ends and is removed: the leader, or another one. No set forgets a live node."""
    if is_full(brokers):
        leaves = _leave(brokers, chance.choice(brokers.members), chance)
        joined = brokers.join()
    else:
        joined = brokers.join()
        leaves = _leave(brokers, chance.choice([node for node in brokers.members if node is not joined]), chance)
    return f"{joined.name} replaces {leaves.name}"


def is_full(brokers: Set) -> bool:
    """Whether a node must leave before another one can join."""
    return len(brokers.members) == MEMBERS_MAX


def _leave(brokers: Set, node: Node, chance: random.Random) -> Node:
    node.kill() if chance.random() < 0.5 else node.stop()
    brokers.forget(node)
    node.kill()
    return node


def replace_beside_cut(brokers: Set, chance: random.Random) -> str:
    """A new node joins while a follower is cut off. Then the leader and another node are killed, one of them for good, and the cut
    ends: the set is whole again when the node that is gone is forgotten. A full set forgets one first, and only its leader is killed."""
    left = [_leave(brokers, brokers.followers(chance)[0], chance)] if is_full(brokers) else []
    apart = brokers.followers(chance)[:1]
    isolate(brokers, apart)
    joined = brokers.join()
    leader = brokers.wait_leader()
    others = [node for node in brokers.members if node not in (joined, leader, *apart)]
    killed = [leader] if left else [leader, *others[:1]]
    chance.shuffle(killed)
    for node in killed:
        node.kill()
        time.sleep(chance.uniform(0, 0.5))
    brokers.heal_network()
    back = killed if left else killed[1:]
    for node in back:
        node.start()
    if not left:
        left = killed[:1]
        brokers.forget(left[0])
    return f"{joined.name} replaces {names(left)}, while {names(apart)} was cut off; {names(back)} was killed"


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
