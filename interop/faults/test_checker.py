"""Histories that the checker must pass, and histories that must fail: `python3 -m unittest discover interop/faults`."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import history as h  # noqa: E402
from checker import Queue, Rules, check, summary  # noqa: E402
from history import Event  # noqa: E402

QUEUES = [
    Queue("work", dead_letters="dead", loses_transient=False), Queue("dead", is_ordered=False), Queue("classic", loses_transient=True),
    Queue("stream", "stream"), Queue("kept", "retained"), Queue("rewound", "rewound", is_ordered=False), Queue("leased", "leased"),
    Queue("delayed", is_ordered=False),
]  # fmt: skip
RULES = Rules(
    {queue.name: queue for queue in QUEUES},
    {queue.name: (queue.name,) for queue in QUEUES} | {"fan": ("work", "classic")},
)


class Story:
    """Builds a history: each call is an event, a tenth of a second after the one before."""

    def __init__(self) -> None:
        self.at = 0.0
        self.events: list[Event] = []

    def __getattr__(self, kind: str):
        def add(actor: str = "", queue: str = "", message: str = "", **more) -> "Story":
            self.at += 0.1
            self.events.append(Event(self.at, kind.replace("_", "-"), actor, queue, message, **more))
            return self

        return add

    def wait(self, seconds: float) -> "Story":
        self.at += seconds
        return self

    def sent(self, queue: str, *numbers: int, session: str = "p/1", **more) -> "Story":
        """Published and confirmed."""
        for number in numbers:
            self.publish(session, queue, f"{session} {number}", **more)
            self.confirm(session, queue, f"{session} {number}")
        return self

    def got(self, queue: str, *numbers: int, session: str = "c/1", outcome: str = h.ACK, **more) -> "Story":
        for number in numbers:
            self.deliver(session, queue, f"p/1 {number}", **more)
            if outcome:
                getattr(self, outcome)(session, queue, f"p/1 {number}")
        return self


class CheckerTest(unittest.TestCase):
    def expect(self, story: Story, *kinds: str, rules: Rules = RULES) -> None:
        self.assertEqual([fault.kind for fault in check(story.events, rules)], list(kinds), check(story.events, rules))

    def test_all_is_well(self) -> None:
        self.expect(Story().sent("work", 1, 2, 3).got("work", 1, 2, 3))

    def test_nothing_is_expected_of_what_was_not_confirmed(self) -> None:
        self.expect(Story().publish("p/1", "work", "p/1 1"))
        self.expect(Story().publish("p/1", "work", "p/1 1").refuse("p/1", "work", "p/1 1"))

    def test_confirmed_and_never_delivered(self) -> None:
        self.expect(Story().sent("work", 1, 2).got("work", 1), "lost")

    def test_delivered_without_an_ack_and_never_again(self) -> None:
        self.expect(Story().sent("work", 1).got("work", 1, outcome="").end("c/1"), "lost")
        self.expect(Story().sent("work", 1).got("work", 1, outcome=h.REQUEUE), "lost")

    def test_one_of_two_queues_has_not_got_it(self) -> None:
        self.expect(Story().sent("fan", 1).got("work", 1), "lost")

    def test_transient_messages_may_end_with_the_broker_where_that_is_said(self) -> None:
        self.expect(Story().sent("classic", 1, flag=True))
        self.expect(Story().sent("classic", 1), "lost")
        self.expect(Story().sent("work", 1, flag=True), "lost")

    def test_a_rejected_message_needs_its_dead_letter(self) -> None:
        self.expect(Story().sent("work", 1).got("work", 1, outcome=h.REJECT), "lost")
        self.expect(Story().sent("work", 1).got("work", 1, outcome=h.REJECT).got("dead", 1, session="d/1"))
        self.expect(Story().sent("classic", 1).got("classic", 1, outcome=h.REJECT))

    def test_delivered_and_never_published(self) -> None:
        self.expect(Story().got("work", 1), "invented")
        self.expect(Story().sent("work", 1).got("work", 1).got("classic", 1), "invented")

    def test_order_of_a_publisher(self) -> None:
        self.expect(Story().sent("work", 1, 2, 3).got("work", 2, 1, 3), "order")
        self.expect(Story().sent("work", 1, 2).got("dead", 2, 1))

    def test_order_is_not_expected_of_redelivered_messages_or_over_sessions(self) -> None:
        story = Story().sent("work", 1, 2).got("work", 2).got("work", 1, flag=True)
        self.expect(story)
        self.expect(Story().sent("work", 1, 2).got("work", 2).got("work", 1, session="c/2"))
        late = Story().sent("work", 5, session="p/1").sent("work", 1, session="p/2")
        late.deliver("c/1", "work", "p/2 1").ack("c/1", "work", "p/2 1").got("work", 5)
        self.expect(late)

    def test_there_again_needs_the_flag(self) -> None:
        self.expect(Story().sent("work", 1).got("work", 1, outcome="").end("c/1").got("work", 1, session="c/2", flag=True))
        self.expect(Story().sent("work", 1).got("work", 1, outcome="").end("c/1").got("work", 1, session="c/2"), "unflagged")

    def test_an_ack_is_durable_after_a_quiet_second(self) -> None:
        story = Story().sent("work", 1).got("work", 1).wait(2).end("c/1").got("work", 1, session="c/2", flag=True)
        self.expect(story, "again")

    def test_an_ack_just_before_the_end_of_its_session_is_unknown(self) -> None:
        self.expect(Story().sent("work", 1).got("work", 1).end("c/1").wait(2).got("work", 1, session="c/2", flag=True))

    def test_an_ack_during_a_fault_is_unknown(self) -> None:
        story = Story().fault().sent("work", 1).got("work", 1).wait(2).heal().end("c/1")
        self.expect(story.got("work", 1, session="c/2", flag=True))
        begins = Story().sent("work", 1).got("work", 1).wait(0.5).fault().wait(2).heal().end("c/1")
        self.expect(begins.got("work", 1, session="c/2", flag=True))

    def test_a_rejected_message_does_not_come_again_either(self) -> None:
        story = Story().sent("work", 1).got("work", 1, outcome=h.REJECT).wait(2).got("dead", 1, session="d/1")
        self.expect(story.got("work", 1, session="c/2", flag=True), "again")

    def test_streams_have_one_log_for_all(self) -> None:
        def read(story: Story, session: str, *pairs: tuple[int, int]) -> Story:
            for offset, number in pairs:
                story.deliver(session, "stream", f"p/1 {number}", value=offset)
            return story

        def two() -> Story:
            return Story().sent("stream", 1, 2)

        self.expect(read(two(), "final/1", (0, 1), (1, 2)))
        self.expect(read(two(), "r/1", (0, 1), (1, 2)), "lost", "lost")
        self.expect(read(read(two(), "final/1", (0, 1), (1, 2)), "r/1", (1, 1)), "stream", )
        self.expect(read(two(), "final/1", (0, 1), (2, 2)), "stream")
        self.expect(read(two().consume("final/1", "stream", value=0), "final/1", (1, 1), (2, 2)), "stream")
        self.expect(read(two(), "final/1", (0, 1), (1, 2), (2, 2)), "stream")
        self.expect(read(two(), "final/1", (0, 2), (1, 1)), "order", "order")

    def test_a_retained_queue_is_read_again_at_the_end(self) -> None:
        story = Story().sent("kept", 1, 2).got("kept", 1, 2).wait(2)
        self.expect(story, "lost", "lost")
        self.expect(story.got("kept", 1, 2, session="final/1", flag=True))
        self.expect(story.got("kept", 1, session="final/2", flag=True), "lost")
        self.expect(story.got("kept", 2, session="final/2", flag=True).end("final/3", "kept"), "lost", "lost")

    def test_a_rewound_queue_may_deliver_again_with_the_flag(self) -> None:
        story = Story().sent("rewound", 1).got("rewound", 1).wait(2)
        self.expect(story.got("rewound", 1, flag=True))
        self.expect(story.got("rewound", 1), "unflagged")

    def test_leases_hold_and_answered_deletions_last(self) -> None:
        def received(at: float, **more) -> Story:
            story = Story().sent("leased", 1).got("leased", 1, outcome="", value=1000).wait(at)
            return story.got("leased", 1, session="c/2", flag=True, **more)

        self.expect(received(2, value=1000))
        self.expect(received(0.3, value=1000), "lease")
        deleted = Story().sent("leased", 1).got("leased", 1, value=1000)
        self.expect(deleted.settled("c/1", "leased", "p/1 1"))
        self.expect(deleted.wait(2).got("leased", 1, session="c/2", flag=True, value=1000), "again")
        self.expect(Story().handle_refused("c/1", "leased", "4430"), "handle")

    def test_transactions_are_whole(self) -> None:
        story = Story().sent("work", 1, 2, group="t1").got("work", 1, 2)
        self.expect(story)
        half = Story().publish("p/1", "work", "p/1 1", group="t1").publish("p/1", "work", "p/1 2", group="t1").got("work", 1)
        self.expect(half, "transaction")
        self.expect(half, rules=Rules(RULES.queues, RULES.routes, atomic_transactions=False))

    def test_delays(self) -> None:
        self.expect(Story().sent("delayed", 1, value=1000).wait(2).got("delayed", 1))
        story = Story().sent("delayed", 1, value=1000).got("delayed", 1)
        self.expect(story, "early")
        self.expect(story, rules=Rules(RULES.queues, RULES.routes, clocks_are_set=True))

    def test_definitions(self) -> None:
        def ends(*kinds: str) -> Story:
            story = Story().listed(queue="queue")
            for kind in kinds:
                getattr(story, kind)("d/1", "queue", "d.1")
            return story

        self.expect(ends("define", "defined", "listed"))
        self.expect(ends("define", "defined"), "definition")
        self.expect(ends("define", "defined", "drop", "dropped"))
        self.expect(ends("define", "defined", "drop", "dropped", "listed"), "definition")
        self.expect(ends("define", "defined", "drop"))
        self.expect(ends("define", "listed"))
        self.expect(ends("listed"), "definition")

    def test_corrupt_bodies(self) -> None:
        self.expect(Story().corrupt("c/1", "work", "b'\\x00'"), "corrupt")

    def test_nothing_is_lost_from_a_history_that_is_not_whole(self) -> None:
        self.assertEqual(check(Story().sent("work", 1).events, RULES, is_whole=False), [])

    def test_the_longest_gap(self) -> None:
        story = Story().sent("work", 1).wait(3).sent("work", 2)
        self.assertAlmostEqual(summary(story.events).longest_gap_s, 3.2)


if __name__ == "__main__":
    unittest.main()
