# Direct reply-to: the pseudo-queue amq.rabbitmq.reply-to.

from parity.session import add, follows, scenario

PSEUDO = "amq.rabbitmq.reply-to"


def requester(s):
    """A channel that consumes replies, and the queue of the service."""
    ch = s.channel()
    service = s.name("service")
    ch.queue(service)
    ch.consume(PSEUDO, "replies", no_ack=True)
    return ch, service


def request(s, ch, service, **properties):
    """Sends a request; returns the address that the service, on its own connection, found in it."""
    ch.publish("", service, "request", reply_to=PSEUDO, **properties)
    server = s.connect().channel()
    got = server.get_when_there(service)
    return server, got.content.properties["reply-to"]


@scenario
def request_and_reply(s):
    """The reply comes as a delivery with the pseudo-queue's consumer tag."""
    ch, service = requester(s)
    server, address = request(s, ch, service, correlation_id="1")
    server.publish("", address, "reply", correlation_id="1")
    ch.deliveries(1)


@scenario
@follows("4.3")
def several_replies(s):
    """Several replies to one request; their delivery tags count."""
    ch, service = requester(s)
    server, address = request(s, ch, service)
    for body in "abc":
        server.publish("", address, body)
    ch.deliveries(3)


@scenario
@follows("4.3")
def reply_mandatory(s):
    """A mandatory reply that is delivered is not returned."""
    ch, service = requester(s)
    server, address = request(s, ch, service)
    server.publish("", address, "reply", mandatory=True)
    ch.deliveries(1)
    server.barrier()


@scenario
@follows("4.3")
def reply_after_requester_left(s):
    """A mandatory reply to a closed channel is confirmed and dropped."""
    ch, service = requester(s)
    server, address = request(s, ch, service)
    ch.close()
    server.confirm()
    server.publish("", address, "reply", mandatory=True)
    server.confirms()
    server.barrier()


@scenario
def reply_through_other_exchange(s):
    """The address works through the default exchange only."""
    ch, service = requester(s)
    server, address = request(s, ch, service)
    server.publish("amq.direct", address, "reply", mandatory=True)
    server.expect("basic.return")


@scenario
def passive_declare_of_address(s):
    """The service may look whether the requester is still there."""
    ch, service = requester(s)
    server, address = request(s, ch, service)
    server.queue(address, passive=True)
    ch.close()
    server.queue(address, passive=True)


@scenario
def declare_address(s):
    """A plain declare of the address."""
    ch, service = requester(s)
    server, address = request(s, ch, service)
    server.queue(address)


@scenario
def consume_with_acks(s):
    """Replies can be consumed with no-ack only."""
    s.channel().consume(PSEUDO, "t", no_ack=False)


@scenario
def consume_twice(s):
    """One reply consumer per channel."""
    ch = s.channel()
    ch.consume(PSEUDO, "t", no_ack=True)
    ch.consume(PSEUDO, "u", no_ack=True)


@scenario
def consume_exclusive(s):
    """The exclusive flag."""
    s.channel().consume(PSEUDO, "t", no_ack=True, exclusive=True)


@scenario
def consume_generated_tag(s):
    """Without a tag."""
    s.channel().consume(PSEUDO, "", no_ack=True)


@scenario
def consume_no_wait(s):
    """With no-wait."""
    ch = s.channel()
    ch.send("basic.consume", queue=PSEUDO, consumer_tag="t", no_ack=True, no_wait=True)
    ch.barrier()


@scenario
def publish_without_consumer(s):
    """A request from a channel that consumes no replies."""
    ch = s.channel()
    ch.publish("amq.direct", "k", "m", reply_to=PSEUDO)
    ch.expect_close()


@scenario
def publish_from_other_channel(s):
    """The consumer has to be on the channel of the request."""
    ch, service = requester(s)
    other = ch.connection.channel()
    other.publish("", service, "m", reply_to=PSEUDO)
    other.expect_close()


@scenario
def cancel_and_again(s):
    """After a cancel another reply consumer may come."""
    ch = s.channel()
    ch.consume(PSEUDO, "t", no_ack=True)
    ch.call("basic.cancel", consumer_tag="t")
    ch.consume(PSEUDO, "u", no_ack=True)


@scenario
def cancel_then_request(s):
    """After a cancel requests are refused again."""
    ch, service = requester(s)
    ch.call("basic.cancel", consumer_tag="replies")
    ch.publish("", service, "m", reply_to=PSEUDO)
    ch.expect_close()


def _method(name, fields):
    def run(s):
        ch = s.channel()
        ch.call(name, **fields)
    return run


for _name, _fields in {
    "queue.declare": {"queue": PSEUDO}, "queue.delete": {"queue": PSEUDO}, "queue.purge": {"queue": PSEUDO},
    "queue.bind": {"queue": PSEUDO, "exchange": "amq.direct", "routing_key": "k"}, "basic.get": {"queue": PSEUDO},
}.items():
    add(__name__, f"pseudo_queue_{_name.replace('.', '_')}", _method(_name, _fields), f"{_name} of the pseudo-queue.")


@scenario
def pseudo_queue_passive(s):
    """A passive declare of the pseudo-queue."""
    s.channel().queue(PSEUDO, passive=True)


@scenario
def publish_to_pseudo_queue(s):
    """Publishing to the pseudo-queue itself."""
    ch = s.channel()
    ch.publish("", PSEUDO, "m", mandatory=True)
    ch.next()


@scenario
def address_is_per_request(s):
    """Two requests of one channel carry the same address."""
    ch, service = requester(s)
    ch.publish("", service, "1", reply_to=PSEUDO)
    ch.publish("", service, "2", reply_to=PSEUDO)
    ch.drain(service, 2)
