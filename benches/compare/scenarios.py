# What is measured: each scenario is a call of `leveret bench`. Persistent messages, durable queues, publisher confirms
# with a window of 1,000 per producer, manual acknowledgements of 100 at once, prefetch 500: the defaults there.

import dataclasses


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A row of the result."""
    name: str
    title: str
    # The table it belongs to: "rate", "latency" or "backlog".
    table: str
    # The words after `leveret bench`.
    words: tuple


def every(given):
    """All scenarios, with the times and counts that were asked for."""
    time = ("--seconds", str(given.seconds), "--warm-up", str(given.warm_up))
    found = []
    for mode, length in (("produce", time), ("consume", ("--count", str(given.drain))), ("both", time)):
        for pairs in (1, 4):
            title = f"{mode}, {pairs} {'pair' if pairs == 1 else 'pairs'}"
            found.append(Scenario(f"{mode}-{pairs}", title, "rate", (mode, "--pairs", str(pairs), *length)))
    for rate in (1_000, 10_000):
        found.append(Scenario(f"latency-{rate}", f"{rate:,}/s offered", "latency",
                              ("latency", "--rate", str(rate), *time)))
    found.append(Scenario("backlog", f"backlog of {given.backlog:,}", "backlog",
                          ("backlog", "--count", str(given.backlog))))
    return found


def chosen(given):
    """The scenarios that --only leaves."""
    wanted = tuple(word for word in given.only.split(",") if word)
    return [scenario for scenario in every(given) if not wanted or scenario.name.startswith(wanted)]
