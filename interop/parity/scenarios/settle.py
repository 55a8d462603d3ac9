# Acknowledging, rejecting, requeueing and recovering; positions after a requeue.

from parity.session import add, scenario
from scenarios.consume import filled


def delivered(s, count, taken):
    """A channel that got `taken` of `count` messages; the rest stays ready."""
    ch, q = filled(s, count)
    for _ in range(taken):
        ch.get(q, no_ack=False)
    return ch, q


@scenario
def ack_out_of_order(s):
    """Messages may be acknowledged in any order."""
    ch, q = delivered(s, 3, 3)
    for tag in (2, 3, 1):
        ch.ack(tag)
    ch.close()
    s.channel().get(q)


@scenario
def ack_multiple(s):
    """multiple settles everything up to the tag."""
    ch, q = delivered(s, 4, 4)
    ch.ack(3, multiple=True)
    ch.close()
    again = s.channel()
    again.counts_when(q, messages=1)
    again.drain(q, 1)


@scenario
def ack_multiple_0(s):
    """Tag 0 with multiple settles all."""
    ch, q = delivered(s, 2, 2)
    ch.ack(0, multiple=True)
    ch.close()
    s.channel().get(q)


@scenario
def ack_multiple_0_with_nothing(s):
    """It is no error when nothing is outstanding."""
    ch, _ = delivered(s, 0, 0)
    ch.ack(0, multiple=True)
    ch.barrier()


@scenario
def ack_multiple_after_gaps(s):
    """multiple passes over what was settled before."""
    ch, q = delivered(s, 4, 4)
    ch.ack(2)
    ch.ack(3, multiple=True)
    ch.nack(4)
    ch.drain(q, 1)


for _name, (_method, _fields) in {
    "ack_unknown": ("ack", {"delivery_tag": 99}),
    "ack_0": ("ack", {"delivery_tag": 0}),
    "ack_unknown_multiple": ("ack", {"delivery_tag": 99, "multiple": True}),
    "nack_unknown": ("nack", {"delivery_tag": 99, "requeue": True}),
    "nack_0": ("nack", {"delivery_tag": 0}),
    "nack_unknown_multiple": ("nack", {"delivery_tag": 99, "multiple": True}),
    "nack_0_multiple": ("nack", {"delivery_tag": 0, "multiple": True}),
    "reject_unknown": ("reject", {"delivery_tag": 99}),
    "reject_0": ("reject", {"delivery_tag": 0, "requeue": True}),
}.items():
    def _run(s, method=_method, fields=_fields):
        ch = s.channel()
        ch.send(f"basic.{method}", **fields)
        ch.exchange("amq.direct", passive=True)
    add(__name__, f"{_name}_with_nothing", _run, f"basic.{_method} {_fields} when nothing is outstanding.")


@scenario
def ack_twice(s):
    """A tag can be settled once."""
    ch, _ = delivered(s, 2, 2)
    ch.ack(1)
    ch.ack(1)
    ch.expect_close()


@scenario
def ack_multiple_below_outstanding(s):
    """multiple with a tag that is settled, while later ones are outstanding."""
    ch, _ = delivered(s, 3, 3)
    ch.ack(2, multiple=True)
    ch.ack(1, multiple=True)
    ch.expect_close()


@scenario
def ack_then_close_with_error(s):
    """What was acknowledged before the channel error stays acknowledged; the rest comes back."""
    ch, q = delivered(s, 3, 3)
    ch.ack(1)
    ch.ack(77)
    ch.expect_close()
    again = s.channel()
    again.counts_when(q, messages=2)
    again.drain(q, 2)


@scenario
def ack_on_other_channel(s):
    """Tags belong to the channel they were delivered on."""
    ch, _ = delivered(s, 1, 1)
    other = ch.connection.channel()
    other.ack(1)
    other.expect_close()


@scenario
def reject_requeue_position(s):
    """A requeued message goes back to its old place, marked redelivered."""
    ch, q = delivered(s, 3, 1)
    ch.reject(1)
    ch.drain(q, 3)


@scenario
def reject_discards(s):
    """Without requeue the message is gone."""
    ch, q = delivered(s, 2, 1)
    ch.reject(1, requeue=False)
    ch.drain(q, 1)


@scenario
def nack_middle_of_many(s):
    """Requeueing the second of three puts it before what was not yet delivered."""
    ch, q = delivered(s, 4, 3)
    ch.nack(2)
    ch.get(q, no_ack=False)
    ch.get(q, no_ack=False)
    ch.get(q, no_ack=False)


@scenario
def nack_multiple_keeps_order(s):
    """Several requeued at once keep their order, before the rest."""
    ch, q = delivered(s, 5, 3)
    ch.nack(3, multiple=True)
    ch.drain(q, 5)


@scenario
def nack_one_by_one_keeps_order(s):
    """Requeued one by one, in any order, they stand as they did."""
    ch, q = delivered(s, 4, 3)
    for tag in (2, 3, 1):
        ch.nack(tag)
    ch.drain(q, 4)


@scenario
def nack_multiple_0(s):
    """Tag 0 with multiple requeues all."""
    ch, q = delivered(s, 3, 2)
    ch.nack(0, multiple=True)
    ch.drain(q, 3)


@scenario
def nack_multiple_discards(s):
    """Without requeue they are gone."""
    ch, q = delivered(s, 4, 3)
    ch.nack(2, multiple=True, requeue=False)
    ch.nack(3)
    ch.drain(q, 2)


@scenario
def requeue_behind_later_publish(s):
    """A requeued message stands before what was published meanwhile."""
    ch, q = delivered(s, 1, 1)
    ch.publish("", q, "later")
    ch.confirms()
    ch.nack(1)
    ch.drain(q, 2)


@scenario
def requeue_after_partial_ack(s):
    """Acknowledged ones leave no gap for the requeued ones."""
    ch, q = delivered(s, 5, 4)
    ch.ack(1)
    ch.ack(3)
    ch.nack(4, multiple=True)
    ch.drain(q, 3)


@scenario
def requeue_to_consumer(s):
    """A requeued message is delivered again, to the same consumer when there is no other."""
    ch, q = delivered(s, 1, 0)
    ch.consume(q, "t")
    ch.deliveries(1)
    ch.nack(1)
    ch.deliveries(1)
    ch.reject(2)
    ch.deliveries(1)


@scenario
def requeue_goes_to_other_consumer(s):
    """With prefetch 1 on two consumers a requeued message goes to the one that has credit."""
    ch, q = delivered(s, 2, 0)
    ch.prefetch(1)
    ch.consume(q, "a")
    ch.deliveries(1)
    other = ch.connection.channel()
    other.prefetch(1)
    other.consume(q, "b")
    other.deliveries(1)
    other.ack(1)
    other.barrier()
    ch.call("basic.cancel", consumer_tag="a")
    ch.nack(1)
    other.deliveries(1)


# ------------------------------------------------------------ recover

@scenario
def recover(s):
    """recover(requeue=true) puts everything outstanding back in order."""
    ch, q = delivered(s, 3, 2)
    ch.call("basic.recover", requeue=True)
    ch.drain(q, 3)


@scenario
def recover_to_consumer(s):
    """A consumer gets it all again, with new tags."""
    ch, q = delivered(s, 2, 0)
    ch.consume(q, "t")
    ch.deliveries(2)
    ch.call("basic.recover", requeue=True)
    ch.deliveries(2)


@scenario
def recover_nothing(s):
    """recover with nothing outstanding."""
    s.channel().call("basic.recover", requeue=True)


@scenario
def recover_without_requeue(s):
    """recover(requeue=false) is not implemented."""
    s.channel().call("basic.recover", requeue=False)


@scenario
def recover_async(s):
    """recover-async has no reply."""
    ch, q = delivered(s, 2, 2)
    ch.send("basic.recover-async", requeue=True)
    ch.drain(q, 2)


@scenario
def recover_async_without_requeue(s):
    """recover-async(requeue=false) is not implemented either."""
    ch = s.channel()
    ch.send("basic.recover-async", requeue=False)
    ch.connection.expect_close()


@scenario
def redelivered_stays(s):
    """A message that was delivered once stays marked, on another connection too."""
    ch, q = delivered(s, 1, 1)
    ch.nack(1)
    other = s.connect().channel()
    other.get_when_there(q, no_ack=False)
    other.close()
    ch.get_when_there(q)
