"""Power losses: alone, and while other nodes sleep or are cut off."""

import random
import time
from collections.abc import Callable

import network
from nodes import Node, Set, eventually

ELECTED_S = 60.0


def power_follower(brokers: Set, chance: random.Random) -> str:
    return _lose_power(brokers.followers(chance)[:1])


def power_leader(brokers: Set, chance: random.Random) -> str:
    return _lose_power([brokers.wait_leader()])


def power_all(brokers: Set, chance: random.Random) -> str:
    return _lose_power(brokers.members)


def _lose_power(of: list[Node]) -> str:
    for node in of:
        node.kill()
    for node in of:
        node.disk.lose_power()
    return ", ".join(node.name for node in of)


def power_beside_pause(brokers: Set, chance: random.Random) -> str:
    """A minority sleeps while the others confirm. One of these loses power, the rest of them fall asleep, and the minority wakes: it
    and the node that has lost power are the majority now, and what was confirmed must be there."""

    def only(asleep: list[Node]) -> None:
        for node in asleep:
            node.pause()
        for node in brokers.members:
            if node not in asleep:
                node.resume()

    return _power_beside(brokers, chance, only, "slept")


def power_beside_cut(brokers: Set, chance: random.Random) -> str:
    """As `power_beside_pause`, with nodes that are cut off and do not sleep."""

    def only(apart: list[Node]) -> None:
        isolate(brokers, apart)
        together = [node for node in brokers.members if node not in apart]
        for node in together:
            for other in together:
                if node is not other:
                    network.heal(node.number, other.number)

    return _power_beside(brokers, chance, only, "were cut off")


def _power_beside(brokers: Set, chance: random.Random, only: Callable[[list[Node]], None], how: str) -> str:
    """`only` sets these nodes apart, and no others."""
    apart = minority(brokers, chance)
    only(apart)
    time.sleep(chance.uniform(1, 3))
    at_work = [node for node in brokers.members if node not in apart]
    victim = chance.choice(at_work)
    rest = [node for node in at_work if node is not victim]
    _lose_power([victim])
    only(rest)
    victim.start()

    def elected() -> bool:
        return (leader := brokers.leader()) is not None and leader not in rest

    eventually("a leader of the new majority", elected, ELECTED_S)
    return f"{victim.name}, while {names(apart)} {how}; then {names(rest)}"


def minority(brokers: Set, chance: random.Random) -> list[Node]:
    """As many followers as a set can do without."""
    return brokers.followers(chance)[: (len(brokers.members) - 1) // 2]


def isolate(brokers: Set, group: list[Node]) -> str:
    """Cuts the group off from all others."""
    for inside in group:
        for outside in brokers.members:
            if outside not in group:
                network.cut(inside.number, outside.number)
                network.cut(outside.number, inside.number)
    return names(group)


def names(nodes: list[Node]) -> str:
    return ", ".join(node.name for node in nodes)
