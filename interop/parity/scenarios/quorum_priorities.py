# The 32 strict priorities of quorum queues in RabbitMQ 4.3.

from parity.channel import dead_letters_to
from parity.session import follows, scenario


def begin(s, **arguments):
    """A channel in confirm mode and a quorum queue."""
    ch = s.channel()
    ch.queue(s.name("q"), durable=True, arguments={"x-queue-type": "quorum", **arguments})
    ch.confirm()
    return ch, s.name("q")


def publish(ch, q, *priorities, **properties):
    """One message per priority; None stands for no priority."""
    for number, priority in enumerate(priorities):
        given = {} if priority is None else {"priority": priority}
        ch.publish("", q, f"{number} ({priority})", **given, **properties)
        ch.confirms()


@scenario
@follows("4.3")
def strict(s):
    """Higher priorities first; 31 is the highest, and no priority is as 4."""
    ch, q = begin(s)
    publish(ch, q, None, 0, 1, 4, 5, 30, 31, 32, 33, 100, 255)
    ch.drain(q, 11)


@scenario
@follows("4.3")
def low_waits(s):
    """Messages of a low priority wait as long as there are others."""
    ch, q = begin(s)
    publish(ch, q, 0, 9, 9, 9, 9, 9)
    ch.drain(q, 6)


@scenario
@follows("4.3")
def consumer(s):
    """A consumer that comes later gets by priority."""
    ch, q = begin(s)
    publish(ch, q, 1, 9, 5, None)
    ch.consume(q, "a")
    ch.deliveries(4)


@scenario
@follows("4.3")
def returned_first(s):
    """Returned messages precede all others in the order in which they came back."""
    ch, q = begin(s)
    publish(ch, q, 1, 5, 9)
    for _ in range(3):
        ch.get_when_there(q, no_ack=False)
    for tag in (3, 2, 1):
        ch.nack(tag)
    publish(ch, q, 30)
    ch.drain(q, 4)


@scenario
@follows("4.3")
def returned_by_channel(s):
    """What a closed channel gives back precedes all others, too."""
    ch, q = begin(s)
    publish(ch, q, 9, 1)
    other = ch.connection.channel()
    other.get_when_there(q, no_ack=False)
    other.get_when_there(q, no_ack=False)
    other.close()
    publish(ch, q, 30)
    ch.drain(q, 3)


@scenario
@follows("4.3")
def drop_head(s):
    """A full queue drops from the front: the highest priority."""
    ch, q = begin(s, **{"x-max-length": 3, **dead_letters_to(s.name("dead"))})
    ch.queue(s.name("dead"))
    publish(ch, q, 1, 9, 5, 0)
    ch.drain(s.name("dead"), 1)
    ch.drain(q, 3)


@scenario
@follows("4.3")
def expires_at_each_level(s):
    """A message of low priority expires although a higher one is ready."""
    ch, q = begin(s, **dead_letters_to(s.name("dead")))
    ch.queue(s.name("dead"))
    publish(ch, q, 9)
    publish(ch, q, 1, expiration="50")
    ch.get_when_there(s.name("dead"))
    ch.drain(q, 1)


@scenario
@follows("4.3")
def max_priority(s):
    """x-max-priority stays refused."""
    begin(s, **{"x-max-priority": 5})


@scenario
@follows("4.3")
def purge(s):
    """A purge covers all priorities."""
    ch, q = begin(s)
    publish(ch, q, 1, 5, 9, None)
    ch.call("queue.purge", queue=q)
    ch.get(q)


@scenario
@follows("4.3")
def dead_letters_keep_it(s):
    """A dead letter has the priority of its message in the next queue."""
    ch, q = begin(s, **dead_letters_to(s.name("r")))
    ch.queue(s.name("r"), durable=True, arguments={"x-queue-type": "quorum"})
    publish(ch, q, None, 1, 9)
    for tag in (1, 2, 3):
        ch.get_when_there(q, no_ack=False)
        ch.reject(tag, requeue=False)
    ch.drain(s.name("r"), 3)
