# Dead lettering: reasons, x-death and its kin, keys, cycles, properties.

from parity.channel import dead_letters_to
from parity.session import add, follow, scenario
from parity.wire import Typed


def pair(s, key=None, dlx="", **arguments):
    """A channel, a queue whose dead letters go to `dead` by the default exchange, and `dead`."""
    ch = s.channel()
    q, dead = s.name("q"), s.name("dead")
    ch.queue(dead)
    declared = {"x-dead-letter-exchange": dlx, **arguments}
    if key is not False:
        declared["x-dead-letter-routing-key"] = key or dead
    ch.queue(q, arguments=declared)
    return ch, q, dead


def reject(ch, q):
    """Gets the next message and rejects it without requeue."""
    ch.reject(ch.get_when_there(q, no_ack=False).fields["delivery-tag"], requeue=False)


@scenario
def rejected(s):
    """A rejected message, with all its headers."""
    ch, q, dead = pair(s)
    ch.publish("", q, "m", message_id="id", headers={"mine": 1})
    reject(ch, q)
    ch.get_when_there(dead)


@scenario
def rejected_without_headers(s):
    """The same for a message without headers and properties."""
    ch, q, dead = pair(s)
    ch.publish("", q, "m")
    reject(ch, q)
    ch.get_when_there(dead)


@scenario
def nacked_multiple(s):
    """Several at once keep their order."""
    ch, q, dead = pair(s)
    for body in "abc":
        ch.publish("", q, body)
        ch.get_when_there(q, no_ack=False)
    ch.nack(3, multiple=True, requeue=False)
    ch.drain(dead, 3)


@scenario
def requeue_does_not_dead_letter(s):
    """A requeue is not a dead letter."""
    ch, q, dead = pair(s)
    ch.publish("", q, "m")
    ch.get(q, no_ack=False)
    ch.reject(1)
    ch.get_when_there(q)
    ch.get(dead)


@scenario
def all_properties_kept(s):
    """Properties are kept, but for expiration."""
    ch, q, dead = pair(s)
    ch.publish("", q, "m", content_type="text/plain", content_encoding="gzip", delivery_mode=2, priority=3,
               correlation_id="c", reply_to="r", expiration="60000", message_id="i", timestamp=1234567890,
               type="t", user_id="guest", app_id="a", cluster_id="cl")
    reject(ch, q)
    ch.get_when_there(dead)


@scenario
def original_key_kept(s):
    """Without x-dead-letter-routing-key the message keeps its key and CC keys."""
    ch = s.channel()
    x, q, dead = s.name("x"), s.name("q"), s.name("dead")
    ch.exchange(x, "topic")
    ch.queue(dead)
    ch.bind(dead, x, "#")
    ch.queue(q, arguments={"x-dead-letter-exchange": x})
    ch.publish("", q, "m", headers={"CC": ["other.key"], "BCC": ["secret.key"]})
    reject(ch, q)
    ch.drain(dead, 1)


@scenario
def new_key_replaces_cc(s):
    """With x-dead-letter-routing-key CC no longer routes; what becomes of the header."""
    ch, q, dead = pair(s)
    other = s.name("other")
    ch.queue(other)
    ch.publish("", q, "m", headers={"CC": [other]})
    ch.get_when_there(other)
    reject(ch, q)
    ch.get_when_there(dead)
    ch.get(other)


@scenario
def through_exchange(s):
    """Dead letters go through an exchange as any publish does; x-death names the old one."""
    ch = s.channel()
    x, dlx, q, dead = s.name("x"), s.name("dlx"), s.name("q"), s.name("dead")
    ch.exchange(x, "direct")
    ch.exchange(dlx, "fanout")
    ch.queue(dead)
    ch.bind(dead, dlx, "")
    ch.queue(q, arguments={"x-dead-letter-exchange": dlx})
    ch.bind(q, x, "first key")
    ch.publish(x, "first key", "m")
    reject(ch, q)
    ch.get_when_there(dead)


@scenario
def missing_exchange(s):
    """A dead letter for a missing exchange is dropped."""
    ch, q, dead = pair(s, dlx=s.name("missing"))
    ch.publish("", q, "m")
    reject(ch, q)
    ch.get(q)
    ch.get(dead)


@scenario
def internal_exchange(s):
    """An internal exchange takes dead letters."""
    ch = s.channel()
    x, q, dead = s.name("x"), s.name("q"), s.name("dead")
    ch.exchange(x, "fanout", internal=True)
    ch.queue(dead)
    ch.bind(dead, x)
    ch.queue(q, arguments={"x-dead-letter-exchange": x})
    ch.publish("", q, "m")
    reject(ch, q)
    ch.get_when_there(dead)


@scenario
def alternate_exchange(s):
    """A dead letter that finds no queue goes to the alternate exchange."""
    ch = s.channel()
    x, y, q, dead = (s.name(n) for n in ("x", "y", "q", "dead"))
    ch.exchange(y, "fanout")
    ch.exchange(x, "direct", arguments={"alternate-exchange": y})
    ch.queue(dead)
    ch.bind(dead, y)
    ch.queue(q, arguments={"x-dead-letter-exchange": x})
    ch.publish("", q, "m")
    reject(ch, q)
    ch.get_when_there(dead)


@scenario
def two_hops(s):
    """Two queues in a row: two entries, the newest first; first-death stays, last-death changes."""
    ch = s.channel()
    a, b, dead = s.name("a"), s.name("b"), s.name("dead")
    ch.queue(dead)
    ch.queue(b, arguments=dead_letters_to(dead))
    ch.queue(a, arguments={**dead_letters_to(b), "x-message-ttl": 20})
    ch.publish("", a, "m", headers={"mine": 1})
    reject(ch, b)
    ch.get_when_there(dead)


@scenario
def retry_cycle(s):
    """Rejected, waits in a TTL queue, comes back, three times over: counts go up, entries do not."""
    ch = s.channel()
    work, wait = s.name("work"), s.name("wait")
    ch.queue(work, arguments=dead_letters_to(wait))
    ch.queue(wait, arguments={**dead_letters_to(work),
                              "x-message-ttl": 20})
    ch.publish("", work, "m")
    for _ in range(3):
        reject(ch, work)
    ch.get_when_there(work)


@scenario
def automatic_cycle_is_broken(s):
    """A cycle without rejections: the message is dropped before it enters a queue again."""
    ch = s.channel()
    x, a, b, probe = s.name("x"), s.name("a"), s.name("b"), s.name("probe")
    ch.exchange(x, "fanout")
    ch.queue(probe)
    ch.queue(a, arguments={**dead_letters_to(b), "x-message-ttl": 20})
    ch.queue(b, arguments={"x-dead-letter-exchange": x, "x-message-ttl": 20})
    for queue in (a, probe):
        ch.bind(queue, x)
    ch.publish("", a, "m")
    ch.get_when_there(probe)
    ch.get(a)
    ch.get(b)
    ch.get(probe)


@scenario
def cycle_to_itself(s):
    """A queue that dead-letters expired messages to itself drops them."""
    ch = s.channel()
    x, q, probe = s.name("x"), s.name("q"), s.name("probe")
    ch.exchange(x, "fanout")
    ch.queue(probe)
    ch.queue(q, arguments={"x-dead-letter-exchange": x, "x-message-ttl": 20})
    for queue in (q, probe):
        ch.bind(queue, x)
    ch.publish("", q, "m")
    ch.get_when_there(probe)
    ch.get(q)
    ch.get(probe)


@scenario
def reject_to_itself(s):
    """A queue that dead-letters rejected messages to itself gets them back."""
    ch, q = s.queue(arguments={"x-dead-letter-exchange": ""})
    ch.publish("", q, "m")
    reject(ch, q)
    reject(ch, q)
    ch.get_when_there(q)


@scenario
def cycle_by_maxlen(s):
    """A queue of length 1 that dead-letters to itself."""
    ch, q = s.queue(arguments={"x-dead-letter-exchange": "", "x-max-length": 1})
    ch.confirm()
    ch.publish("", q, "a")
    ch.confirms()
    ch.publish("", q, "b")
    ch.confirms()
    ch.get(q)
    ch.get(q)


@scenario
def two_reasons_in_one_queue(s):
    """The same queue with two reasons makes two entries."""
    ch = s.channel()
    q, back = s.name("q"), s.name("back")
    ch.queue(q, arguments=dead_letters_to(back))
    ch.queue(back, arguments={**dead_letters_to(q), "x-max-length": 0})
    dead = s.name("dead")
    ch.queue(dead)
    ch.publish("", q, "m")
    reject(ch, q)
    reject(ch, q)
    ch.get_when_there(q)


@scenario
def republished_by_client(s):
    """A client that publishes a message with x-death of its own cannot seed the counts."""
    ch, q, dead = pair(s)
    ch.publish("", q, "m", headers={
        "x-death": [{"count": Typed("l", 7), "reason": "rejected", "queue": q, "exchange": "",
                     "time": Typed("T", 1000), "routing-keys": [q]}],
        "x-first-death-queue": "elsewhere", "x-first-death-reason": "expired", "x-first-death-exchange": "ex",
        "x-last-death-queue": "elsewhere", "x-last-death-reason": "expired", "x-last-death-exchange": "ex"})
    reject(ch, q)
    ch.get_when_there(dead)


@scenario
def consumed_and_republished(s):
    """A dead letter that a client publishes again with its headers, and that dies again."""
    ch, q, dead = pair(s)
    ch.publish("", q, "m")
    reject(ch, q)
    letter = ch.get_when_there(dead)
    ch.publish("", q, "again", headers=letter.content.properties["headers"])
    reject(ch, q)
    ch.get_when_there(dead)


for _name, _value in {"string": "no", "number": 5, "empty_array": [], "array_of_strings": ["a"], "void": None}.items():
    def _run(s, value=_value):
        ch, q, dead = pair(s)
        ch.publish("", q, "m", headers={"x-death": value})
        reject(ch, q)
        ch.get_when_there(dead)
    add(__name__, f"strange_x_death_{_name}", _run, f"A message with an x-death header of {_value!r} dies.")


@scenario
def original_expiration(s):
    """An expired message's expiration is kept in x-death only."""
    ch, q, dead = pair(s)
    ch.publish("", q, "m", expiration="20")
    ch.get_when_there(dead)


@scenario
def mandatory_is_forgotten(s):
    """A dead letter that cannot be routed is not returned to the publisher."""
    ch, q, _ = pair(s, key=s.name("missing"))
    ch.publish("", q, "m", mandatory=True)
    reject(ch, q)
    ch.get(q)
    ch.barrier()


@scenario
def delivered_not_redelivered(s):
    """A dead letter is a new message: it is not marked redelivered."""
    ch, q, dead = pair(s)
    ch.publish("", q, "m")
    ch.get(q, no_ack=False)
    ch.nack(1)
    reject(ch, q)
    ch.get_when_there(dead)


@scenario
def purge_and_delete_do_not_dead_letter(s):
    """Purging and deleting discard."""
    ch, q, dead = pair(s)
    ch.publish("", q, "a")
    ch.call("queue.purge", queue=q)
    ch.publish("", q, "b")
    ch.call("queue.delete", queue=q)
    ch.get(dead)


@scenario
def no_ack_does_not_dead_letter(s):
    """Messages taken with no-ack are done."""
    ch, q, dead = pair(s)
    ch.publish("", q, "m")
    ch.get(q)
    ch.close()
    s.channel().get(dead)


@scenario
def in_transaction(s):
    """A reject takes effect with the commit."""
    ch, q, dead = pair(s)
    ch.publish("", q, "m")
    ch.call("tx.select")
    ch.get(q, no_ack=False)
    ch.reject(1, requeue=False)
    ch.get(dead)
    ch.call("tx.commit")
    ch.get_when_there(dead)


@scenario
def fan_out(s):
    """A dead letter may reach several queues."""
    ch = s.channel()
    x, q, a, b = s.name("x"), s.name("q"), s.name("a"), s.name("b")
    ch.exchange(x, "fanout")
    for queue in (a, b):
        ch.queue(queue)
        ch.bind(queue, x)
    ch.queue(q, arguments={"x-dead-letter-exchange": x, "x-dead-letter-routing-key": "k"})
    ch.publish("", q, "m")
    reject(ch, q)
    ch.get_when_there(a)
    ch.get_when_there(b)


@scenario
def maxlen_then_expired(s):
    """Two hops by limits."""
    ch = s.channel()
    a, b, dead = s.name("a"), s.name("b"), s.name("dead")
    ch.queue(dead)
    ch.queue(b, arguments={**dead_letters_to(dead), "x-message-ttl": 20})
    ch.queue(a, arguments={**dead_letters_to(b), "x-max-length": 0})
    ch.publish("", a, "m")
    ch.get_when_there(dead)


# In 4.3 a message that a consumer rejected comes to its next queue as redelivered.
follow(__name__, "4.3", "all_properties_kept", "alternate_exchange", "consumed_and_republished",
       "delivered_not_redelivered", "fan_out", "in_transaction", "internal_exchange", "new_key_replaces_cc",
       "original_key_kept", "reject_to_itself", "rejected*", "republished_by_client", "retry_cycle", "strange_x_death_*",
       "through_exchange", "two_hops", "two_reasons_in_one_queue")
