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


def _each(*names: str) -> list[Case]:
    return [Case(name, f"{name}, three times", (name,) * 3) for name in names]


# The list on which NATS JetStream 2.12.1 lost data by Jepsen's report (https://jepsen.io/analyses/nats-2.12.1), and what a
# report on it names besides.
NATS = [
    Case("nats-process-crashes", "all processes crash, again and again: 2.10.22 deleted whole streams",
         ("kill-all",) * 6, hold_s=(0.0, 0.5), gap_s=(0.5, 2.0)),
    Case("nats-bit-flips", "bits flip in the data files of a minority, whose node then leads",
         ("damage-log", "kill-leader", "damage-log", "kill-leader", "damage-log", "transfer"), hold_s=(0.5, 2.0)),
    Case("nats-truncation", "data files of a minority are truncated, whose node then leads",
         ("truncate-log", "kill-leader", "truncate-log", "transfer"), hold_s=(0.5, 2.0)),
    Case("nats-snapshot-corruption", "snapshots and state of a minority are damaged, whose node then leads",
         ("damage-database", "kill-leader", "truncate-database", "kill-leader"), hold_s=(0.5, 2.0)),
    Case("nats-power-loss", "all nodes lose power: confirms came before the sync",
         ("power-all",) * 4, hold_s=(0.0, 1.0)),
    Case("nats-one-crash-and-pause", "one node loses power while another one sleeps",
         ("power-beside-pause",) * 4, hold_s=(1.0, 3.0)),
    Case("nats-one-crash-and-cut", "one node loses power while another one is cut off",
         ("power-beside-cut",) * 4, hold_s=(1.0, 3.0)),
    Case("nats-peer-removal", "members are replaced while nodes fail",
         ("replace-member", "kill-leader", "replace-member"), hold_s=(1.0, 2.0)),
]  # fmt: skip

SINGLE = [
    *_each("kill-leader", "kill-all", "pause-leader", "cut-leader", "power-all", "transfer"),
    *_each("kill-follower", "stop-leader", "pause-follower", "pause-then-kill", "pause-all"),
    *_each("cut-follower", "cut-halves", "cut-all", "cut-from-leader", "cut-to-leader", "cut-bridge", "flap"),
    *_each("full-disk", "full-disks", "full-followers", "stalled-disk", "stalled-disk-of-follower", "slow-disk"),
    *_each("power-follower", "power-leader", "clock-step", "rolling-restart", "replace-member"),
]

QUICK = Case("quick", "one of each in about three minutes", (
    "kill-follower", "kill-leader", "pause-leader", "cut-leader", "cut-from-leader", "transfer", "power-leader", "kill-all",
    "stalled-disk", "full-disk", "pause-then-kill", "damage-log", "power-all", "rolling-restart", "replace-member", "clock-step"),
    hold_s=(1.0, 3.0), gap_s=(1.0, 2.0))  # fmt: skip
MIX = Case("mix", "faults drawn by the seed for the time of --seconds", (), hold_s=(0.5, 8.0), gap_s=(0.5, 4.0))
CALM = Case("calm", "no fault at all", ())

ALL = {case.name: case for case in [QUICK, MIX, CALM, *NATS, *SINGLE]}
