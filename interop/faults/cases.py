"""The named cases: which faults, in which order, for how long. A case without `faults` draws from all."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """Faults one after the other. Each lasts `hold_s`, and `gap_s` pass from its end to the next one."""

    name: str
    story: str
    faults: tuple[str, ...]
    hold_s: tuple[float, float] = (2.0, 6.0)
    gap_s: tuple[float, float] = (2.0, 4.0)
    # The nodes begin with the release before.
    begins_old: bool = False


def _each(*names: str) -> list[Case]:
    return [Case(name, f"{name}, three times", (name,) * 3) for name in names]


# The list on which NATS JetStream 2.12.1 lost data by Jepsen's report (https://jepsen.io/analyses/nats-2.12.1): crashes of processes
# (found in 2.10.22), damage to the data files and to the snapshots of a minority, power losses of all, and of one node beside pauses
# or cuts. Besides, what its tests did and the report leaves open: members that are removed while nodes are cut off and killed.
NATS = [
    Case("nats-process-crashes", "processes crash, together and one after the other: 2.10.22 deleted whole streams",
         ("kill-all", "kill-in-turn") * 3, hold_s=(0.0, 0.5), gap_s=(0.5, 2.0)),
    Case("nats-bit-flips", "bits flip in the data files of a minority, whose node then leads",
         ("damage-log", "lead-damaged", "damage-log", "kill-leader", "damage-running", "lead-damaged"), hold_s=(0.5, 2.0)),
    Case("nats-bit-flips-and-crash", "what was confirmed is whole on one node only, which is down",
         ("damage-beside-pause",) * 3, hold_s=(2.0, 6.0)),
    Case("nats-truncation", "data files of a minority are truncated, whose node then leads",
         ("truncate-log", "lead-damaged", "truncate-log", "kill-leader", "truncate-log", "lead-damaged"), hold_s=(0.5, 2.0)),
    Case("nats-snapshot-corruption", "snapshots and state of a minority are damaged, whose node then leads",
         ("damage-database", "lead-damaged", "damage-database", "kill-leader", "truncate-database", "lead-damaged"), hold_s=(0.5, 2.0)),
    Case("nats-power-loss", "all nodes lose power: confirms came before the sync",
         ("power-all",) * 4, hold_s=(0.0, 1.0)),
    Case("nats-one-crash-and-pause", "one node loses power and makes a majority with nodes that slept, while the others sleep",
         ("power-beside-pause",) * 4, hold_s=(1.0, 3.0)),
    Case("nats-one-crash-and-cut", "one node loses power and makes a majority with nodes that were cut off, without the others",
         ("power-beside-cut",) * 4, hold_s=(1.0, 3.0)),
    Case("nats-peer-removal", "members are replaced while nodes are cut off and killed",
         ("replace-member", "replace-beside-cut", "kill-leader", "replace-beside-cut"), hold_s=(1.0, 2.0)),
]  # fmt: skip

UPGRADE = Case("rolling-upgrade", "a set of the release before gets the new one node by node, under faults; needs LEVERET_OLD_BIN",
               ("upgrade", "kill-leader", "replace-member", "transfer", "upgrade", "kill-all", "upgrade", "transfer", "upgrade"),
               hold_s=(1.0, 3.0), begins_old=True)  # fmt: skip

SINGLE = [
    *_each("kill-leader", "kill-all", "pause-leader", "cut-leader", "power-all", "transfer"),
    *_each("kill-follower", "stop-leader", "pause-follower", "pause-then-kill", "pause-all"),
    *_each("cut-follower", "cut-halves", "cut-all", "cut-from-leader", "cut-to-leader", "cut-bridge", "flap", "lossy"),
    *_each("full-disk", "full-disks", "full-followers", "stalled-disk", "stalled-disk-of-follower", "slow-disk"),
    *_each("power-follower", "power-leader", "clock-step", "rolling-restart", "replace-member"),
    *_each("damage-log", "truncate-log", "damage-database", "truncate-database", "damage-running"),
]

QUICK = Case("quick", "one of each in about three minutes", (
    "kill-follower", "kill-leader", "pause-leader", "cut-leader", "cut-from-leader", "transfer", "power-leader", "kill-all",
    "stalled-disk", "full-disk", "pause-then-kill", "damage-log", "power-all", "rolling-restart", "replace-member", "clock-step"),
    hold_s=(1.0, 3.0), gap_s=(1.0, 2.0))  # fmt: skip
MIX = Case("mix", "faults drawn by the seed for the time of --seconds", (), hold_s=(0.5, 8.0), gap_s=(0.5, 4.0))
CALM = Case("calm", "no fault at all", ())

ALL = {case.name: case for case in [QUICK, MIX, CALM, UPGRADE, *NATS, *SINGLE]}
