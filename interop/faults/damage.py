"""Damage to the files of a minority: bits that flip, files that are cut short."""

import pathlib
import random
import time
from collections.abc import Callable

from nodes import Node, NotReady, Set, eventually
from outages import minority, names

FLIPS_PER_FILE = 5
FILES_PER_NODE = 3
LEADS_S = 120.0

Harm = Callable[[pathlib.Path, random.Random], None]


def damage_log(brokers: Set, chance: random.Random) -> str:
    """Bits flip in the logs of a minority, which then comes back and may lead."""
    return _damage_stopped(brokers, chance, _is_of_log, _flip)


def truncate_log(brokers: Set, chance: random.Random) -> str:
    return _damage_stopped(brokers, chance, _is_of_log, _truncate)


def damage_database(brokers: Set, chance: random.Random) -> str:
    """Bits flip in the files that hold the state: database, snapshots, identity."""
    return _damage_stopped(brokers, chance, _is_of_state, _flip)


def truncate_database(brokers: Set, chance: random.Random) -> str:
    return _damage_stopped(brokers, chance, _is_of_state, _truncate)


def _damage_stopped(brokers: Set, chance: random.Random, is_meant: Callable, harm: Harm) -> str:
    victims = minority(brokers, chance)
    for node in victims:
        node.kill()
    return "; ".join(_harm(brokers, node, chance, is_meant, harm) for node in victims)


def damage_running(brokers: Set, chance: random.Random) -> str:
    """Bits flip under a node that runs, the leader or another one. It is killed a while later."""
    node = chance.choice(brokers.members)
    text = _harm(brokers, node, chance, chance.choice([_is_of_log, _is_of_state]), _flip)
    time.sleep(chance.uniform(0, 3))
    node.kill()
    return text


def damage_beside_pause(brokers: Set, chance: random.Random) -> str:
    """A minority sleeps while the others confirm. Then all of these end, some with damaged files, and the sleepers wake: what was
    confirmed is whole on the nodes that are down only, so nothing may be served before these are back."""
    asleep = minority(brokers, chance)
    for node in asleep:
        node.pause()
    time.sleep(chance.uniform(1, 3))
    awake = [node for node in brokers.members if node not in asleep]
    victims = chance.sample(awake, len(asleep))
    for node in awake:
        node.kill()
    is_meant = chance.choice([_is_of_log, _is_of_state])
    text = "; ".join(_harm(brokers, node, chance, is_meant, _flip) for node in victims)
    for node in asleep:
        node.resume()
    for node in victims:
        node.start()
    return f"{text}, while {names(asleep)} slept"


def lead_damaged(brokers: Set, chance: random.Random) -> str:
    """The node whose files were damaged last leads, as soon as it can."""
    node = next((node for node in reversed(brokers.damaged) if node in brokers.members), brokers.members[0])

    def leads() -> bool:
        if brokers.leader() is node:
            return True
        try:
            brokers.transfer(node)
        except NotReady:
            # It has not got everything yet.
            time.sleep(0.5)
        return False

    eventually(f"{node.name}, which was damaged, leads", leads, LEADS_S)
    return node.name


def _is_of_log(path: pathlib.Path) -> bool:
    return "log" in str(path)


def _is_of_state(path: pathlib.Path) -> bool:
    return not _is_of_log(path)


def _harm(brokers: Set, node: Node, chance: random.Random, is_meant: Callable[[pathlib.Path], bool], harm: Harm) -> str:
    """Harms a few files of the node; what was moved aside after an earlier damage is left alone."""
    of_node = {path: path.relative_to(node.disk.path) for path in node.data_files()}
    files = [path for path, name in of_node.items() if is_meant(name) and not {"lost+found", "damaged"} & set(name.parts)]
    drawn = chance.sample(files, min(len(files), FILES_PER_NODE))
    for path in drawn:
        harm(path, chance)
    brokers.damaged.append(node)
    return f"{node.name}: " + ", ".join(str(of_node[path]) for path in drawn)


def _flip(path: pathlib.Path, chance: random.Random) -> None:
    """Flips bits where the file is not empty."""
    octets = path.read_bytes()
    used = len(octets.rstrip(b"\0"))
    with open(path, "r+b") as file:
        for _ in range(FLIPS_PER_FILE if used else 0):
            at = chance.randrange(used)
            file.seek(at)
            file.write(bytes([octets[at] ^ 1 << chance.randrange(8)]))


def _truncate(path: pathlib.Path, chance: random.Random) -> None:
    size = path.stat().st_size
    used = len(path.read_bytes().rstrip(b"\0"))
    with open(path, "r+b") as file:
        file.truncate(chance.randrange(max(used, 1)) if chance.random() < 0.7 else min(size, used))
