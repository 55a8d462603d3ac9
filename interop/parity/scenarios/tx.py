# Transactions.

from parity.session import add, scenario


@scenario
def select_twice(s):
    """tx.select may be repeated."""
    ch = s.channel()
    ch.call("tx.select")
    ch.call("tx.select")


for _verb in ("commit", "rollback"):
    def _run(s, verb=_verb):
        s.channel().call(f"tx.{verb}")
    add(__name__, f"{_verb}_without_select", _run, f"tx.{_verb} on a channel without transactions.")


@scenario
def commit_publishes(s):
    """Published messages appear with the commit."""
    c = s.connect()
    ch, watch = c.channel(), c.channel()
    q = s.name("q")
    ch.queue(q)
    ch.call("tx.select")
    ch.publish("", q, "a")
    ch.publish("", q, "b")
    ch.exchange("amq.direct", passive=True)
    watch.get(q)
    ch.call("tx.commit")
    watch.drain(q, 2)


@scenario
def rollback_forgets_publishes(s):
    """Rolled back messages never appear; the channel stays transactional."""
    c = s.connect()
    ch = c.channel()
    q = s.name("q")
    ch.queue(q)
    ch.call("tx.select")
    ch.publish("", q, "a")
    ch.call("tx.rollback")
    ch.call("tx.commit")
    ch.get(q)
    ch.publish("", q, "b")
    ch.call("tx.commit")
    ch.drain(q, 1)


@scenario
def close_forgets_publishes(s):
    """Closing the channel rolls back."""
    c = s.connect()
    ch = c.channel()
    q = s.name("q")
    ch.queue(q)
    ch.call("tx.select")
    ch.publish("", q, "a")
    ch.close()
    c.channel().get(q)


def _acked(s):
    """A transactional channel with one message got and acknowledged, not committed."""
    ch, q = s.queue()
    ch.publish("", q, "m")
    ch.call("tx.select")
    ch.get(q, no_ack=False)
    ch.ack(1)
    return ch, q


@scenario
def commit_acks(s):
    """A committed ack is final."""
    ch, q = _acked(s)
    ch.call("tx.commit")
    ch.close()
    s.channel().get(q)


@scenario
def uncommitted_ack_is_lost(s):
    """An ack that was not committed is as none."""
    ch, q = _acked(s)
    ch.close()
    again = s.channel()
    again.get_when_there(q)


@scenario
def rollback_leaves_unacked(s):
    """After a rollback the message is unacknowledged again, not requeued."""
    ch, q = _acked(s)
    ch.call("tx.rollback")
    ch.get(q)
    ch.ack(1)
    ch.call("tx.commit")
    ch.close()
    s.channel().get(q)


@scenario
def rollback_nack(s):
    """A nack with requeue takes effect with the commit."""
    ch, q = s.queue()
    ch.publish("", q, "m")
    ch.call("tx.select")
    ch.get(q, no_ack=False)
    ch.nack(1)
    ch.get(q)
    ch.call("tx.commit")
    ch.get_when_there(q)


@scenario
def ack_twice_in_transaction(s):
    """A tag can be acknowledged once within a transaction."""
    ch, _ = _acked(s)
    ch.ack(1)
    ch.call("tx.commit")


@scenario
def ack_unknown_in_transaction(s):
    """An unknown tag is noticed at once."""
    ch = s.channel()
    ch.call("tx.select")
    ch.ack(5)
    ch.exchange("amq.direct", passive=True)


@scenario
def publish_to_missing_exchange(s):
    """A missing exchange is noticed at the publish."""
    ch = s.channel()
    ch.call("tx.select")
    ch.publish(s.name("x"), "k", "m")
    ch.call("tx.commit")


@scenario
def mandatory_returned_at_commit(s):
    """An unroutable mandatory message comes back with the commit, before commit-ok."""
    ch = s.channel()
    ch.call("tx.select")
    ch.publish("amq.direct", s.name("nowhere"), "m", mandatory=True)
    ch.barrier()
    ch.send("tx.commit")
    ch.next()
    ch.next()


@scenario
def routing_at_publish_or_commit(s):
    """Which bindings count: those of the publish or those of the commit."""
    c = s.connect()
    ch, other = c.channel(), c.channel()
    q, x = s.name("q"), s.name("x")
    other.exchange(x, "fanout")
    other.queue(q)
    ch.call("tx.select")
    ch.publish(x, "", "m")
    ch.barrier()
    other.bind(q, x)
    ch.call("tx.commit")
    ch.get(q)


@scenario
def deliveries_go_on(s):
    """Consumers are served as usual within a transaction; acks free credit with the commit."""
    ch, q = s.queue()
    ch.publish("", q, "a")
    ch.publish("", q, "b")
    ch.call("tx.select")
    ch.prefetch(1)
    ch.consume(q, "t")
    ch.deliveries(1)
    ch.ack(1)
    ch.barrier()
    ch.call("tx.commit")
    ch.deliveries(1)


@scenario
def commit_empty(s):
    """An empty transaction can be committed and rolled back."""
    ch = s.channel()
    ch.call("tx.select")
    ch.call("tx.commit")
    ch.call("tx.rollback")


@scenario
def commit_to_missing_queue(s):
    """A message for a queue that was deleted before the commit is dropped."""
    c = s.connect()
    ch, other = c.channel(), c.channel()
    q = s.name("q")
    other.queue(q)
    ch.call("tx.select")
    ch.publish("", q, "m")
    ch.barrier()
    other.call("queue.delete", queue=q)
    ch.call("tx.commit")


@scenario
def commit_publish_and_ack(s):
    """Publishes and acks of one transaction."""
    ch, q = _acked(s)
    ch.publish("", q, "new")
    ch.call("tx.commit")
    ch.drain(q, 1)
