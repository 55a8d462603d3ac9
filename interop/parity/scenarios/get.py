# basic.get.

from parity.session import scenario


@scenario
def empty(s):
    """An empty queue answers get-empty."""
    ch = s.channel()
    ch.queue(s.name("q"))
    ch.get(s.name("q"))


@scenario
def missing(s):
    """A missing queue is a 404."""
    s.channel().get(s.name("q"))


@scenario
def counts_down(s):
    """message-count is what remains ready."""
    ch, q = s.queue()
    for body in "abc":
        ch.publish("", q, body)
    ch.drain(q, 3)


@scenario
def delivery_tags(s):
    """Every get has the channel's next delivery tag, with no-ack too."""
    c = s.connect()
    ch = c.channel()
    q = s.name("q")
    ch.queue(q)
    for body in "abcd":
        ch.publish("", q, body)
    ch.get(q, no_ack=True)
    ch.get(q, no_ack=False)
    ch.get(q, no_ack=True)
    other = c.channel()
    other.get(q, no_ack=False)


@scenario
def ack_removes(s):
    """An acknowledged message does not come back."""
    c = s.connect()
    q = s.name("q")
    ch = c.channel()
    ch.queue(q)
    ch.publish("", q, "m")
    ch.get(q, no_ack=False)
    ch.ack(1)
    ch.close()
    c.channel().get(q)


@scenario
def ack_of_no_ack(s):
    """A message got with no-ack cannot be acknowledged."""
    ch, q = s.queue()
    ch.publish("", q, "m")
    ch.get(q, no_ack=True)
    ch.ack(1)
    ch.expect_close()


@scenario
def beside_consumer(s):
    """get on a queue with a consumer takes what the consumer has no credit for."""
    ch, q = s.queue()
    ch.prefetch(1)
    ch.consume(q, "t")
    ch.confirm()
    ch.publish("", q, "a")
    ch.publish("", q, "b")
    ch.confirms()
    ch.deliveries(1)
    ch.get(q)


@scenario
def not_limited_by_prefetch(s):
    """Prefetch does not limit get."""
    ch, q = s.queue()
    ch.prefetch(1, of_channel=True)
    for body in "ab":
        ch.publish("", q, body)
    ch.get(q, no_ack=False)
    ch.get(q, no_ack=False)


@scenario
def exclusive_consumer_elsewhere(s):
    """get on a queue that another channel consumes exclusively."""
    c = s.connect()
    q = s.name("q")
    ch = c.channel()
    ch.queue(q)
    ch.consume(q, "t", exclusive=True)
    c.channel().get(q)


@scenario
def large_body(s):
    """A body of several frames."""
    ch, q = s.queue()
    ch.publish("", q, "x" * 400_000)
    ch.get_when_there(q)
