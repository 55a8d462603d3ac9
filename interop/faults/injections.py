"""The faults. Each begins and returns what it did to whom; `Set.heal` ends them all."""

import random
import time
from collections.abc import Callable

import damage
import membership
import network
import outages
from nodes import Node, Set
from outages import isolate, names

CLOCK_STEPS_S = (-3600, -30, 5, 30, 3600)
# A disk that is slow stands still for so long in each period.
SLOW_STILL_S, SLOW_PERIOD_S, SLOW_TIMES = 0.15, 0.4, 6
FLAPS, BURSTS = 8, 60

Fault = Callable[[Set, random.Random], str]


def to_leader(act: Callable[[Node], None]) -> Fault:
    """Does this to the leader."""

    def fault(brokers: Set, chance: random.Random) -> str:
        node = brokers.wait_leader()
        act(node)
        return node.name

    return fault


def to_follower(act: Callable[[Node], None]) -> Fault:
    """Does this to a node that follows."""

    def fault(brokers: Set, chance: random.Random) -> str:
        node = brokers.followers(chance)[0]
        act(node)
        return node.name

    return fault


def to_all(act: Callable[[Node], None]) -> Fault:
    """Does this to each node."""

    def fault(brokers: Set, chance: random.Random) -> str:
        for node in brokers.members:
            act(node)
        return "all"

    return fault


def kill_in_turn(brokers: Set, chance: random.Random) -> str:
    """Each node, and the next one while the one before still starts."""
    drawn = list(brokers.members)
    chance.shuffle(drawn)
    for node in drawn:
        node.kill()
        time.sleep(chance.uniform(0, 0.3))
        node.start()
        time.sleep(chance.uniform(0, 0.3))
    return names(drawn)


def pause_then_kill(brokers: Set, chance: random.Random) -> str:
    node = brokers.wait_leader()
    node.pause()
    time.sleep(chance.uniform(0.3, 2))
    node.kill()
    return node.name


def cut_follower(brokers: Set, chance: random.Random) -> str:
    return isolate(brokers, brokers.followers(chance)[:1])


def cut_leader(brokers: Set, chance: random.Random) -> str:
    return isolate(brokers, [brokers.wait_leader()])


def cut_halves(brokers: Set, chance: random.Random) -> str:
    """The smaller half, with or without the leader."""
    drawn = list(brokers.members)
    chance.shuffle(drawn)
    return isolate(brokers, drawn[: len(drawn) // 2])


def cut_all(brokers: Set, chance: random.Random) -> str:
    for node in brokers.members:
        isolate(brokers, [node])
    return "each from each"


def cut_from_leader(brokers: Set, chance: random.Random) -> str:
    """The leader is not heard, but hears."""
    leader = brokers.wait_leader()
    for node in brokers.members:
        if node is not leader:
            network.cut(leader.number, node.number)
    return f"{leader.name} is not heard"


def cut_to_leader(brokers: Set, chance: random.Random) -> str:
    """The leader is heard, but hears nothing."""
    leader = brokers.wait_leader()
    for node in brokers.members:
        if node is not leader:
            network.cut(node.number, leader.number)
    return f"{leader.name} hears nothing"


def cut_bridge(brokers: Set, chance: random.Random) -> str:
    """One node is reached by all, and the others do not reach each other."""
    follower = brokers.followers(chance)[0]
    others = [node for node in brokers.members if node is not follower]
    for node in others:
        for other in others:
            if node is not other:
                network.cut(node.number, other.number)
    return f"only by {follower.name}"


def flap(brokers: Set, chance: random.Random) -> str:
    """The leader's links come and go."""
    leader = brokers.wait_leader()
    for _ in range(FLAPS):
        isolate(brokers, [leader])
        time.sleep(chance.uniform(0.05, 0.6))
        for node in brokers.members:
            if node is not leader:
                network.heal(node.number, leader.number)
                network.heal(leader.number, node.number)
        time.sleep(chance.uniform(0.05, 0.4))
    return leader.name


def lossy(brokers: Set, chance: random.Random) -> str:
    """Packets are lost in bursts, now on one way and now on another."""
    for _ in range(BURSTS):
        source, target = chance.sample(brokers.members, 2)
        network.cut(source.number, target.number)
        time.sleep(chance.uniform(0.01, 0.1))
        network.heal(source.number, target.number)
    return f"{BURSTS} bursts"


def full_disk(brokers: Set, chance: random.Random) -> str:
    node = chance.choice([brokers.wait_leader(), *brokers.followers(chance)[:1]])
    node.disk.fill()
    return node.name


def full_followers(brokers: Set, chance: random.Random) -> str:
    """No majority has room, although the leader has."""
    full = brokers.followers(chance)
    for node in full:
        node.disk.fill()
    return names(full)


def slow_disk(brokers: Set, chance: random.Random) -> str:
    node = chance.choice(brokers.members)
    for _ in range(SLOW_TIMES):
        node.disk.freeze()
        time.sleep(SLOW_STILL_S)
        node.disk.thaw()
        time.sleep(SLOW_PERIOD_S - SLOW_STILL_S)
    return node.name


def clock_step(brokers: Set, chance: random.Random) -> str:
    node, step = chance.choice(brokers.members), chance.choice(CLOCK_STEPS_S)
    node.set_clock(step)
    return f"{node.name} by {step} s"


def rolling_restart(brokers: Set, chance: random.Random) -> str:
    for node in list(brokers.members):
        node.stop()
        time.sleep(chance.uniform(0, 0.5))
        node.start()
        brokers.wait()
    return "each in turn"


def transfer(brokers: Set, chance: random.Random) -> str:
    to = brokers.followers(chance)[0]
    brokers.transfer(to)
    return f"to {to.name}"


# By name: the fault, the kind that a set may lack.
FAULTS: dict[str, tuple[Fault, str]] = {
    "kill-follower": (to_follower(lambda node: node.kill()), "kill"),
    "kill-leader": (to_leader(lambda node: node.kill()), "kill"),
    "kill-all": (to_all(lambda node: node.kill()), "kill"),
    "stop-leader": (to_leader(lambda node: node.stop()), "kill"),
    "kill-in-turn": (kill_in_turn, "kill"),
    "pause-follower": (to_follower(lambda node: node.pause()), "pause"),
    "pause-leader": (to_leader(lambda node: node.pause()), "pause"),
    "pause-then-kill": (pause_then_kill, "pause"),
    "pause-all": (to_all(lambda node: node.pause()), "pause"),
    "cut-follower": (cut_follower, "cut"),
    "cut-leader": (cut_leader, "cut"),
    "cut-halves": (cut_halves, "cut"),
    "cut-all": (cut_all, "cut"),
    "cut-from-leader": (cut_from_leader, "cut"),
    "cut-to-leader": (cut_to_leader, "cut"),
    "cut-bridge": (cut_bridge, "cut"),
    "flap": (flap, "cut"),
    "lossy": (lossy, "cut"),
    "full-disk": (full_disk, "full"),
    "full-disks": (to_all(lambda node: node.disk.fill()), "full"),
    "full-followers": (full_followers, "full"),
    "stalled-disk": (to_leader(lambda node: node.disk.freeze()), "disk"),
    "stalled-disk-of-follower": (to_follower(lambda node: node.disk.freeze()), "disk"),
    "slow-disk": (slow_disk, "disk"),
    "power-follower": (outages.power_follower, "power"),
    "power-leader": (outages.power_leader, "power"),
    "power-all": (outages.power_all, "power"),
    "power-beside-pause": (outages.power_beside_pause, "power"),
    "power-beside-cut": (outages.power_beside_cut, "power"),
    "damage-log": (damage.damage_log, "damage"),
    "truncate-log": (damage.truncate_log, "damage"),
    "damage-database": (damage.damage_database, "damage"),
    "truncate-database": (damage.truncate_database, "damage"),
    "damage-running": (damage.damage_running, "damage"),
    "damage-beside-pause": (damage.damage_beside_pause, "damage"),
    "lead-damaged": (damage.lead_damaged, "damage"),
    "clock-step": (clock_step, "clock"),
    "rolling-restart": (rolling_restart, "restart"),
    "transfer": (transfer, "transfer"),
    "replace-member": (membership.replace_member, "member"),
    "replace-beside-cut": (membership.replace_beside_cut, "member"),
    "upgrade": (membership.upgrade, "upgrade"),
}
NEEDS_ROOT = {"disk", "power"}


def possible(name: str, brokers: Set) -> bool:
    """Whether this set, with these rights, can have the fault."""
    kind = FAULTS[name][1]
    needs_others = "follower" in name or "beside" in name or kind in ("cut", "damage", "transfer", "member")
    if kind == "upgrade" and not brokers.are_old:
        return False
    if kind in brokers.lacks or (needs_others and len(brokers.members) == 1):
        return False
    return network.is_root() or kind not in NEEDS_ROOT
