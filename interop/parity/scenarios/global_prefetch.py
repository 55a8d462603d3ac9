# basic.qos with global: one limit for all consumers of a channel.

from parity.session import scenario


def begin(s, limit, *queues):
    """A publisher's channel, a consumer's with this limit, and queues, each with the messages named with it."""
    owner, ch = s.channel(), s.connect().channel()
    owner.confirm()
    for suffix, bodies in queues:
        owner.queue(s.name(suffix))
        for body in bodies:
            owner.publish("", s.name(suffix), body)
    owner.confirms()
    ch.prefetch(limit, of_channel=True)
    return owner, ch


@scenario
def one_limit_for_two(s):
    """Two consumers share the limit."""
    owner, ch = begin(s, 2, ("q", "1234"))
    ch.consume(s.name("q"), "a")
    ch.deliveries(2)
    ch.consume(s.name("q"), "b")
    ch.barrier()
    owner.counts(s.name("q"))


@scenario
def second_queue_waits(s):
    """A consumer of another queue gets nothing while the limit is used up, and what is acked afterwards."""
    owner, ch = begin(s, 1, ("q", "1"), ("r", "2"))
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    ch.consume(s.name("r"), "b")
    ch.barrier()
    ch.ack(1)
    ch.deliveries(1)


@scenario
def without_acks_waits(s):
    """A consumer without acks gets nothing while the limit is used up, either."""
    owner, ch = begin(s, 1, ("q", "1"), ("r", "2"))
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    ch.consume(s.name("r"), "b", no_ack=True)
    ch.barrier()
    owner.counts(s.name("r"))
    ch.ack(1)
    ch.deliveries(1)


@scenario
def without_acks_uses_none(s):
    """What is delivered without acks does not use up the limit."""
    owner, ch = begin(s, 1, ("q", "123"), ("r", "4"))
    ch.consume(s.name("q"), "a", no_ack=True)
    ch.deliveries(3)
    ch.consume(s.name("r"), "b")
    ch.deliveries(1)


@scenario
def without_acks_published_while_full(s):
    """What is published while the limit is used up waits for a consumer without acks, too."""
    owner, ch = begin(s, 1, ("q", "1"), ("r", ""))
    ch.consume(s.name("r"), "b", no_ack=True)
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    owner.publish("", s.name("r"), "2")
    owner.confirms()
    ch.barrier()
    owner.counts(s.name("r"))
    ch.ack(1)
    ch.deliveries(1)


@scenario
def got_messages_use_none(s):
    """What basic.get takes does not use it up."""
    owner, ch = begin(s, 1, ("q", "12"))
    ch.get(s.name("q"), no_ack=False)
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)


@scenario
def get_while_full(s):
    """basic.get works while the limit is used up."""
    owner, ch = begin(s, 1, ("q", "12"))
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    ch.get(s.name("q"))


@scenario
def other_channel(s):
    """The limit is the channel's: another channel of the connection has its own."""
    owner, ch = begin(s, 1, ("q", "123"))
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    further = ch.connection.channel()
    further.consume(s.name("q"), "b")
    further.deliveries(2)


@scenario
def own_limit_lifts_it(s):
    """A basic.qos without global lifts the channel's limit."""
    owner, ch = begin(s, 3, ("q", "12345"), ("r", "67"))
    ch.prefetch(2)
    ch.consume(s.name("q"), "a")
    ch.deliveries(2)
    ch.barrier()
    ch.consume(s.name("r"), "b")
    ch.deliveries(1)
    ch.barrier()


@scenario
def raised(s):
    """A limit that is raised lets more through at once."""
    owner, ch = begin(s, 1, ("q", "123"))
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    ch.prefetch(3, of_channel=True)
    ch.deliveries(2)


@scenario
def lifted(s):
    """0 lifts it."""
    owner, ch = begin(s, 1, ("q", "123"))
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    ch.prefetch(0, of_channel=True)
    ch.deliveries(2)


@scenario
def lowered(s):
    """A limit that is lowered below what is unacked lets nothing through until that many are acked."""
    owner, ch = begin(s, 3, ("q", "12345"))
    ch.consume(s.name("q"), "a")
    ch.deliveries(3)
    ch.prefetch(1, of_channel=True)
    ch.ack(1)
    ch.barrier()
    ch.ack(2)
    ch.barrier()
    ch.ack(3)
    ch.deliveries(1)


@scenario
def nack_frees(s):
    """A requeue frees a place, and the message comes again."""
    owner, ch = begin(s, 1, ("q", "12"))
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    ch.nack(1)
    ch.deliveries(1)


@scenario
def cancel_keeps_the_place(s):
    """What a cancelled consumer holds goes on using up the limit."""
    owner, ch = begin(s, 1, ("q", "1"), ("r", "2"))
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    ch.call("basic.cancel", consumer_tag="a")
    ch.consume(s.name("r"), "b")
    ch.barrier()
    ch.ack(1)
    ch.deliveries(1)


@scenario
def quorum_consumer(s):
    """A consumer of a quorum queue on a channel with such a limit."""
    owner, ch = begin(s, 1)
    owner.queue(s.name("q"), durable=True, arguments={"x-queue-type": "quorum"})
    ch.consume(s.name("q"), "a")


@scenario
def one_at_a_time_from_three(s):
    """With a limit of one, three queues of five messages each are all emptied."""
    owner, ch = begin(s, 1, ("q", "12345"), ("r", "12345"), ("t", "12345"))
    with s.transcript.unlogged():
        for suffix in "qrt":
            ch.consume(s.name(suffix), suffix)
        seen = []
        for number in range(15):
            seen.append(ch.expect("basic.deliver").fields["consumer-tag"])
            ch.ack(number + 1)
    s.note(f"deliveries from each: {[seen.count(suffix) for suffix in 'qrt']}")
    owner.counts_when(s.name("q"), messages=0)


@scenario
def no_queue_starves(s):
    """Of three queues of 100 messages none waits until the others are empty."""
    owner, ch = begin(s, 10)
    with s.transcript.unlogged():
        for suffix in "qrt":
            owner.queue(s.name(suffix))
            for number in range(100):
                owner.publish("", s.name(suffix), str(number))
        owner.confirms()
        for suffix in "qrt":
            ch.consume(s.name(suffix), suffix)
        seen = []
        for number in range(120):
            seen.append(ch.expect("basic.deliver").fields["consumer-tag"])
            ch.ack(number + 1)
    s.note(f"after 120 deliveries each queue has had ten: {all(seen.count(suffix) >= 10 for suffix in 'qrt')}")
    ch.connection.close_socket()
    ch.connection.inboxes.clear()
