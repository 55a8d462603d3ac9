# Priority queues.

from parity.channel import dead_letters_to
from parity.session import scenario


def filled(s, *priorities, limit=5):
    """A priority queue with one message per entry; None stands for no priority."""
    ch, q = s.queue(arguments={"x-max-priority": limit})
    ch.confirm()
    for number, priority in enumerate(priorities):
        ch.publish("", q, f"{number} ({priority})", **({} if priority is None else {"priority": priority}))
    ch.confirms()
    return ch, q


@scenario
def higher_first(s):
    """Higher priorities first, first in first out within one."""
    ch, q = filled(s, 1, 5, 3, 5, 0, 3)
    ch.drain(q, 6)


@scenario
def unset_is_0(s):
    """No priority is as 0."""
    ch, q = filled(s, None, 0, None, 1)
    ch.drain(q, 4)


@scenario
def above_limit(s):
    """Priorities above the limit count as the limit; the property stays as it was."""
    ch, q = filled(s, 5, 200, 6, 5)
    ch.drain(q, 4)


@scenario
def ignored_without_limit(s):
    """Without x-max-priority the property does nothing."""
    ch, q = s.queue()
    for priority in (1, 9, 5):
        ch.publish("", q, str(priority), priority=priority)
    ch.drain(q, 3)


@scenario
def limit_0(s):
    """x-max-priority 0 knows one priority."""
    ch, q = filled(s, 1, 5, limit=0)
    ch.drain(q, 2)


@scenario
def limit_255(s):
    """x-max-priority 255 knows them all."""
    ch, q = filled(s, 254, 255, 1, limit=255)
    ch.drain(q, 3)


@scenario
def consumer_gets_in_order(s):
    """A consumer that comes later gets by priority."""
    ch, q = filled(s, 1, 5, 3)
    ch.consume(q, "t")
    ch.deliveries(3)


@scenario
def requeue_keeps_place(s):
    """A requeued message goes back among those of its priority."""
    ch, q = filled(s, 3, 3, 5)
    ch.get(q, no_ack=False)
    ch.get(q, no_ack=False)
    ch.nack(2, multiple=True)
    ch.drain(q, 3)


@scenario
def ttl_of_low_priority(s):
    """A message of a low priority expires when it comes to the head, not while higher ones are ready."""
    ch = s.channel()
    q, dead, probe = s.name("q"), s.name("dead"), s.name("probe")
    ch.queue(dead)
    to_dead = dead_letters_to(dead)
    ch.queue(q, arguments={"x-max-priority": 5, **to_dead})
    ch.queue(probe, arguments={"x-message-ttl": 50, **to_dead})
    ch.publish("", q, "high", priority=5)
    ch.publish("", q, "low", priority=1, expiration="20")
    ch.publish("", probe, "probe")
    ch.get_when_there(dead)
    ch.get(q)
    ch.get_when_there(dead)


@scenario
def purge_and_counts(s):
    """Counts and purge cover all priorities."""
    ch, q = filled(s, 1, 2, 3)
    ch.counts_when(q, messages=3)
    ch.call("queue.purge", queue=q)
