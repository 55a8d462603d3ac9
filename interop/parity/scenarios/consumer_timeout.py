# x-consumer-timeout of quorum queues and their consumers in RabbitMQ 4.3: overdue messages go back, and the channel stays.

import json

from parity.client import CAPABILITIES
from parity.session import add, follows, scenario, slow

QUORUM = {"x-queue-type": "quorum"}
TIMEOUT = {"x-consumer-timeout": 1000}
SILENT = [name for name in CAPABILITIES if name != "consumer_cancel_notify"]


def begin(s, *bodies, capabilities=CAPABILITIES, **arguments):
    """A channel in confirm mode and a quorum queue with these messages."""
    ch = s.connect(capabilities=capabilities).channel()
    ch.queue(s.name("q"), durable=True, arguments={**QUORUM, **arguments})
    ch.confirm()
    for body in bodies or ("m",):
        ch.publish("", s.name("q"), body)
        ch.confirms()
    return ch, s.name("q")


def hung(s, *bodies, **arguments):
    """The same with a consumer that has let one message time out, a prefetch of one."""
    ch, q = begin(s, *bodies, **{**TIMEOUT, **arguments})
    ch.prefetch(1)
    ch.consume(q, "a")
    with s.takes(1):
        ch.deliveries(1)
        ch.expect("basic.cancel")
    return ch, q


@scenario
@slow
@follows("4.3")
def cancelled(s):
    """The client hears basic.cancel; the message is ready, and the channel stays."""
    ch, q = hung(s)
    ch.get_when_there(q)
    ch.barrier()


@scenario
@slow
@follows("4.3")
def other_consumer(s):
    """Another consumer gets the message at once; the hung one gets nothing more."""
    ch, q = begin(s, **TIMEOUT)
    ch.prefetch(1)
    ch.consume(q, "a")
    ch.deliveries(1)
    other = ch.connection.channel()
    other.consume(q, "b")
    ch.expect("basic.cancel")
    other.deliveries(1)
    other.ack(1)
    ch.publish("", q, "2")
    ch.confirms()
    other.deliveries(1)
    ch.barrier()


@scenario
@slow
@follows("4.3")
def tag_stays_taken(s):
    """The tag of a cancelled consumer cannot be used again."""
    ch, q = hung(s)
    ch.consume(q, "a")


@scenario
@slow
@follows("4.3")
def counted(s):
    """The consumer still counts."""
    ch, q = hung(s)
    ch.counts_when(q, messages=1, consumers=1)


@scenario
@slow
@follows("4.3")
def client_cancels(s):
    """After the client's own basic.cancel the tag is free."""
    ch, q = hung(s)
    ch.call("basic.cancel", consumer_tag="a")
    ch.consume(q, "a")


ANSWERS = {
    "ack": lambda ch: ch.ack(1),
    "nack": lambda ch: ch.nack(1, requeue=False),
    "reject": lambda ch: ch.reject(1, requeue=False),
}


def _late(answer):
    def run(s):
        ch, q = hung(s)
        answer(ch)
        ch.deliveries(1)
        ch.ack(2)
        ch.counts_when(q, messages=0)
    return slow(follows("4.3")(run))


for _name, _answer in ANSWERS.items():
    add(__name__, f"late_{_name}", _late(_answer), f"A late {_name} changes nothing, and the consumer gets messages again.")


def _late_requeue(answer):
    def run(s):
        ch, q = hung(s)
        answer(ch)
        ch.connection.stays_open(1)
        ch.barrier()
        ch.get_when_there(q)
    return slow(follows("4.3")(run))


for _name, _answer in {
    "nack": lambda ch: ch.nack(1), "reject": lambda ch: ch.reject(1),
    "recover": lambda ch: ch.call("basic.recover", requeue=True),
}.items():
    add(__name__, f"late_{_name}_requeue", _late_requeue(_answer), f"A late {_name} that requeues.")


@scenario
@slow
@follows("4.3")
def several(s):
    """Of several overdue messages all must be answered."""
    ch, q = begin(s, "1", "2", "3", **TIMEOUT)
    ch.prefetch(2)
    ch.consume(q, "a")
    ch.deliveries(2)
    ch.expect("basic.cancel")
    ch.counts_when(q, messages=3)
    ch.ack(1)
    ch.barrier()
    ch.ack(2)
    ch.deliveries(2)


@scenario
@slow
@follows("4.3")
def two_groups(s):
    """The client hears of each group that is overdue."""
    ch, q = begin(s, "1", **TIMEOUT)
    ch.prefetch(2)
    ch.consume(q, "a")
    ch.deliveries(1)
    ch.connection.stays_open(0.4)
    ch.publish("", q, "2")
    ch.confirms()
    ch.deliveries(1)
    ch.expect("basic.cancel")
    ch.expect("basic.cancel")
    ch.drain(q, 2)


@scenario
@slow
@follows("4.3")
def without_capability(s):
    """A client that does not know basic.cancel loses its channel."""
    ch, q = begin(s, capabilities=SILENT, **TIMEOUT)
    ch.consume(q, "a")
    ch.deliveries(1)
    with s.takes(1):
        ch.expect_close()
    s.channel().get_when_there(q)


@scenario
@slow
@follows("4.3")
def by_get(s):
    """A message that was got closes the channel."""
    ch, q = begin(s, **TIMEOUT)
    ch.get_when_there(q, no_ack=False)
    with s.takes(1):
        ch.expect_close()
    s.channel().get_when_there(q)


@scenario
@slow
@follows("4.3")
def consumer_has_left(s):
    """So does the message of a consumer that the client has cancelled."""
    ch, q = begin(s, **TIMEOUT)
    ch.consume(q, "a")
    ch.deliveries(1)
    ch.call("basic.cancel", consumer_tag="a")
    with s.takes(1):
        ch.expect_close()
    s.channel().get_when_there(q)


@scenario
@slow
@follows("4.3")
def shorter_for_the_consumer(s):
    """The consumer's argument beats the queue's."""
    ch, q = begin(s, **{"x-consumer-timeout": 60000})
    ch.consume(q, "a", arguments={"x-consumer-timeout": 500})
    with s.takes(0.5):
        ch.deliveries(1)
        ch.expect("basic.cancel")


@scenario
@slow
@follows("4.3")
def longer_for_the_consumer(s):
    """Upwards, too."""
    ch, q = begin(s, **{"x-consumer-timeout": 300})
    ch.consume(q, "a", arguments={"x-consumer-timeout": 60000})
    ch.deliveries(1)
    ch.connection.stays_open(1)
    ch.barrier()
    ch.ack(1)


@scenario
@slow
@follows("4.3")
def consumer_alone(s):
    """A queue that asks for nothing, and a consumer that does."""
    ch, q = begin(s)
    ch.consume(q, "a", arguments={"x-consumer-timeout": 500})
    with s.takes(0.5):
        ch.deliveries(1)
        ch.expect("basic.cancel")


@scenario
@slow
@follows("4.3")
def no_ack(s):
    """Messages that need no ack have no time."""
    ch, q = begin(s, **{"x-consumer-timeout": 300})
    ch.consume(q, "a", no_ack=True)
    ch.deliveries(1)
    ch.connection.stays_open(1)
    ch.barrier()


@scenario
@slow
@follows("4.3")
def zero(s):
    """A timeout of 0 fires at once."""
    ch, q = begin(s, **{"x-consumer-timeout": 0})
    ch.prefetch(1)
    ch.consume(q, "a")
    ch.deliveries(1)
    ch.expect("basic.cancel")


@scenario
@slow
@follows("4.3")
def single_active_consumer(s):
    """The next consumer takes over from a single active one."""
    ch, q = begin(s, "1", "2", **{**TIMEOUT, "x-single-active-consumer": True})
    ch.prefetch(1)
    ch.consume(q, "a")
    ch.deliveries(1)
    other = ch.connection.channel()
    other.prefetch(1)
    other.consume(q, "b")
    ch.expect("basic.cancel")
    other.deliveries(1)
    ch.ack(1)
    ch.barrier()
    other.ack(1)
    other.deliveries(1)


@scenario
@slow
@follows("4.3")
def delivery_limit(s):
    """A timeout counts as no failure."""
    ch, q = hung(s, **{"x-delivery-limit": 0})
    ch.get_when_there(q)


@scenario
@slow
@follows("4.3")
def delayed_retry(s):
    """Returned messages wait, with delayed retry for those."""
    ch, q = hung(s, **{"x-delayed-retry-type": "returned", "x-delayed-retry-min": 500})
    with s.takes(0.5):
        ch.get_when_there(q)


@scenario
@slow
@follows("4.3")
def in_time(s):
    """Messages that are acked in time stay acked."""
    ch, q = begin(s, "1", "2", **{"x-consumer-timeout": 500})
    ch.prefetch(1)
    ch.consume(q, "a")
    ch.deliveries(1)
    ch.ack(1)
    ch.deliveries(1)
    ch.ack(2)
    ch.connection.stays_open(1)
    ch.counts_when(q, messages=0, consumers=1)


def _refused(value):
    def run(s):
        ch, q = begin(s)
        ch.consume(q, "a", arguments={"x-consumer-timeout": value})
    return follows("4.3")(run)


for _name, _value in {"negative": -1, "string": "1000"}.items():
    add(__name__, f"refused_{_name}", _refused(_value), f"A consumer's x-consumer-timeout of {_value!r}.")


@scenario
@follows("4.3")
def redeclared(s):
    """The queue's timeout takes part in equivalence."""
    ch, q = begin(s, **TIMEOUT)
    ch.queue(q, durable=True, arguments={**QUORUM, "x-consumer-timeout": 2000})


def policy(s, **definition):
    """A policy for the queues of this scenario."""
    s.ctl("set_policy", s.name("p"), f"^{s.name('')}", json.dumps({key.replace("_", "-"): value for key, value in definition.items()}))


@scenario
@slow
@follows("4.3")
def by_policy(s):
    """A policy acts on consumers that start later."""
    ch, q = begin(s, "1", "2")
    ch.prefetch(1)
    ch.consume(q, "before")
    ch.deliveries(1)
    policy(s, consumer_timeout=500)
    after = ch.connection.channel()
    after.prefetch(1)
    after.consume(q, "after")
    with s.takes(0.5):
        after.deliveries(1)
        after.expect("basic.cancel")
    ch.barrier()
    s.ctl("clear_policy", s.name("p"))


@scenario
@slow
@follows("4.3")
def policy_and_argument(s):
    """The lower one of policy and argument holds."""
    ch, q = begin(s, **{"x-consumer-timeout": 60000})
    policy(s, consumer_timeout=500)
    ch.consume(q, "a")
    with s.takes(0.5):
        ch.deliveries(1)
        ch.expect("basic.cancel")
    s.ctl("clear_policy", s.name("p"))


@scenario
@slow
@follows("4.3")
def retry_by_policy(s):
    """Delayed retry by policy acts on a live queue."""
    ch, q = begin(s)
    ch.get_when_there(q, no_ack=False)
    policy(s, delayed_retry_type="all", delayed_retry_min=500)
    ch.nack(1)
    with s.takes(0.5):
        ch.get_when_there(q, no_ack=False)
    s.ctl("clear_policy", s.name("p"))
    ch.nack(2)
    with s.within(0.3):
        ch.get_when_there(q)
