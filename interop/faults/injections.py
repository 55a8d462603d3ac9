"""The faults. Each begins and returns what it did to whom; `Set.heal` ends them all."""

import random
import time
from collections.abc import Callable

import network
from nodes import Node, Set

CLOCK_STEPS_S = (-3600, -30, 5, 30, 3600)
# A disk that is slow stands still for so long in each period.
SLOW_STILL_S, SLOW_PERIOD_S, SLOW_TIMES = 0.15, 0.4, 6
FLAPS = 8
FLIPS_PER_FILE = 5


def kill_follower(brokers: Set, chance: random.Random) -> str:
    node = brokers.followers(chance)[0]
    node.kill()
    return node.name


def kill_leader(brokers: Set, chance: random.Random) -> str:
    node = brokers.wait_leader()
    node.kill()
    return node.name


def kill_all(brokers: Set, chance: random.Random) -> str:
    for node in brokers.members:
        node.kill()
    return "all"


def stop_leader(brokers: Set, chance: random.Random) -> str:
    node = brokers.wait_leader()
    node.stop()
    return node.name


def pause_follower(brokers: Set, chance: random.Random) -> str:
    node = brokers.followers(chance)[0]
    node.pause()
    return node.name


def pause_leader(brokers: Set, chance: random.Random) -> str:
    node = brokers.wait_leader()
    node.pause()
    return node.name


def pause_then_kill(brokers: Set, chance: random.Random) -> str:
    node = brokers.wait_leader()
    node.pause()
    time.sleep(chance.uniform(0.3, 2))
    node.kill()
    return node.name


def pause_all(brokers: Set, chance: random.Random) -> str:
    for node in brokers.members:
        node.pause()
    return "all"


def _isolate(brokers: Set, group: list[Node]) -> str:
    for inside in group:
        for outside in brokers.members:
            if outside not in group:
                network.cut(inside.number, outside.number)
                network.cut(outside.number, inside.number)
    return ", ".join(node.name for node in group)


def cut_follower(brokers: Set, chance: random.Random) -> str:
    return _isolate(brokers, brokers.followers(chance)[:1])


def cut_leader(brokers: Set, chance: random.Random) -> str:
    return _isolate(brokers, [brokers.wait_leader()])


def cut_halves(brokers: Set, chance: random.Random) -> str:
    """The smaller half, with or without the leader."""
    drawn = list(brokers.members)
    chance.shuffle(drawn)
    return _isolate(brokers, drawn[: len(drawn) // 2])


def cut_all(brokers: Set, chance: random.Random) -> str:
    for node in brokers.members:
        _isolate(brokers, [node])
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
        _isolate(brokers, [leader])
        time.sleep(chance.uniform(0.05, 0.6))
        for node in brokers.members:
            if node is not leader:
                network.heal(node.number, leader.number)
                network.heal(leader.number, node.number)
        time.sleep(chance.uniform(0.05, 0.4))
    return leader.name


def full_disk(brokers: Set, chance: random.Random) -> str:
    node = chance.choice([brokers.wait_leader(), *brokers.followers(chance)[:1]])
    node.disk.fill()
    return node.name


def full_disks(brokers: Set, chance: random.Random) -> str:
    for node in brokers.members:
        node.disk.fill()
    return "all"


def full_followers(brokers: Set, chance: random.Random) -> str:
    """No majority has room, although the leader has."""
    full = brokers.followers(chance)
    for node in full:
        node.disk.fill()
    return ", ".join(node.name for node in full)


def stalled_disk(brokers: Set, chance: random.Random) -> str:
    node = brokers.wait_leader()
    node.disk.freeze()
    return node.name


def stalled_disk_of_follower(brokers: Set, chance: random.Random) -> str:
    node = brokers.followers(chance)[0]
    node.disk.freeze()
    return node.name


def slow_disk(brokers: Set, chance: random.Random) -> str:
    node = chance.choice(brokers.members)
    for _ in range(SLOW_TIMES):
        node.disk.freeze()
        time.sleep(SLOW_STILL_S)
        node.disk.thaw()
        time.sleep(SLOW_PERIOD_S - SLOW_STILL_S)
    return node.name


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
    """A follower sleeps while the others go on; then one of these loses power, and the sleeper wakes: what only the two had must
    be with the one that is left."""
    sleeper = brokers.followers(chance)[0]
    sleeper.pause()
    time.sleep(chance.uniform(1, 3))
    victim = chance.choice([node for node in brokers.members if node is not sleeper])
    _lose_power([victim])
    sleeper.resume()
    victim.start()
    return f"{victim.name}, while {sleeper.name} slept"


def power_beside_cut(brokers: Set, chance: random.Random) -> str:
    """As `power_beside_pause`, with a node that is cut off."""
    apart = brokers.followers(chance)[0]
    _isolate(brokers, [apart])
    time.sleep(chance.uniform(1, 3))
    victim = chance.choice([node for node in brokers.members if node is not apart])
    _lose_power([victim])
    for node in brokers.members:
        if node is not apart:
            network.heal(node.number, apart.number)
            network.heal(apart.number, node.number)
    victim.start()
    return f"{victim.name}, while {apart.name} was cut off"


def damage_log(brokers: Set, chance: random.Random) -> str:
    """Bits flip in the log of one node, which then comes back and may lead."""
    return _damage(brokers, chance, lambda path: "log" in str(path), _flip)


def truncate_log(brokers: Set, chance: random.Random) -> str:
    return _damage(brokers, chance, lambda path: "log" in str(path), _truncate)


def damage_database(brokers: Set, chance: random.Random) -> str:
    """Bits flip in the files that hold the state: database, snapshots, identity."""
    return _damage(brokers, chance, lambda path: "log" not in str(path), _flip)


def truncate_database(brokers: Set, chance: random.Random) -> str:
    return _damage(brokers, chance, lambda path: "log" not in str(path), _truncate)


def _damage(brokers: Set, chance: random.Random, is_meant: Callable, damage: Callable) -> str:
    node = brokers.followers(chance)[0]
    node.kill()
    files = [path for path in node.data_files() if is_meant(path.relative_to(node.disk.path)) and "lost+found" not in str(path)]
    drawn = chance.sample(files, min(len(files), 3))
    for path in drawn:
        damage(path, chance)
    return f"{node.name}: " + ", ".join(str(path.relative_to(node.disk.path)) for path in drawn)


def _flip(path, chance: random.Random) -> None:
    """Flips bits where the file is not empty."""
    octets = path.read_bytes()
    used = len(octets.rstrip(b"\0"))
    with open(path, "r+b") as file:
        for _ in range(FLIPS_PER_FILE if used else 0):
            at = chance.randrange(used)
            file.seek(at)
            file.write(bytes([octets[at] ^ 1 << chance.randrange(8)]))


def _truncate(path, chance: random.Random) -> None:
    size = path.stat().st_size
    used = len(path.read_bytes().rstrip(b"\0"))
    with open(path, "r+b") as file:
        file.truncate(chance.randrange(max(used, 1)) if chance.random() < 0.7 else min(size, used))


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


def replace_member(brokers: Set, chance: random.Random) -> str:
    """A new node joins, and one that is there ends and is removed: the leader, or another one. No set forgets a live node."""
    joined = brokers.join()
    leaves = chance.choice([node for node in brokers.members if node is not joined])
    leaves.kill() if chance.random() < 0.5 else leaves.stop()
    brokers.forget(leaves)
    leaves.kill()
    return f"{joined.name} replaces {leaves.name}"


# By name: the fault, the kind that a set may lack.
FAULTS: dict[str, tuple[Callable[[Set, random.Random], str], str]] = {
    "kill-follower": (kill_follower, "kill"),
    "kill-leader": (kill_leader, "kill"),
    "kill-all": (kill_all, "kill"),
    "stop-leader": (stop_leader, "kill"),
    "pause-follower": (pause_follower, "pause"),
    "pause-leader": (pause_leader, "pause"),
    "pause-then-kill": (pause_then_kill, "pause"),
    "pause-all": (pause_all, "pause"),
    "cut-follower": (cut_follower, "cut"),
    "cut-leader": (cut_leader, "cut"),
    "cut-halves": (cut_halves, "cut"),
    "cut-all": (cut_all, "cut"),
    "cut-from-leader": (cut_from_leader, "cut"),
    "cut-to-leader": (cut_to_leader, "cut"),
    "cut-bridge": (cut_bridge, "cut"),
    "flap": (flap, "cut"),
    "full-disk": (full_disk, "full"),
    "full-disks": (full_disks, "full"),
    "full-followers": (full_followers, "full"),
    "stalled-disk": (stalled_disk, "disk"),
    "stalled-disk-of-follower": (stalled_disk_of_follower, "disk"),
    "slow-disk": (slow_disk, "disk"),
    "power-follower": (power_follower, "power"),
    "power-leader": (power_leader, "power"),
    "power-all": (power_all, "power"),
    "power-beside-pause": (power_beside_pause, "power"),
    "power-beside-cut": (power_beside_cut, "power"),
    "damage-log": (damage_log, "damage"),
    "truncate-log": (truncate_log, "damage"),
    "damage-database": (damage_database, "damage"),
    "truncate-database": (truncate_database, "damage"),
    "clock-step": (clock_step, "clock"),
    "rolling-restart": (rolling_restart, "restart"),
    "transfer": (transfer, "transfer"),
    "replace-member": (replace_member, "member"),
}
NEEDS_ROOT = {"disk", "power"}


def possible(name: str, brokers: Set) -> bool:
    """Whether this set, with these rights, can have the fault."""
    kind = FAULTS[name][1]
    needs_others = "follower" in name or "beside" in name or kind in ("cut", "damage", "transfer", "member")
    if kind in brokers.lacks or (needs_others and len(brokers.members) == 1):
        return False
    return network.is_root() or kind not in NEEDS_ROOT
