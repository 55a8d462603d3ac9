# Policies and operator policies: which one applies, how its values combine with those of arguments, and what a change does
# to live queues and exchanges. Each scenario has a virtual host of its own, which takes its policies along.

import json

from parity.session import add, follows, scenario

KINDS = ("classic", "quorum")


def policy(s, vhost, definition, name="p", pattern="", operator=False, **options):
    """Sets a policy; `max_length=5` is {"max-length":5} in its definition."""
    text = json.dumps({key.replace("_", "-"): value for key, value in definition.items()}, separators=(",", ":"))
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    verb = "set_operator_policy" if operator else "set_policy"
    s.ctl(verb, "-p", vhost, *words, name, pattern, text)


def cleared(s, vhost, name="p", operator=False):
    s.ctl("clear_operator_policy" if operator else "clear_policy", "-p", vhost, name)


def inside(s, vhost):
    """A channel in confirm mode on a new connection to the virtual host."""
    ch = s.connect(vhost=vhost).channel()
    ch.confirm()
    return ch


def queue(s, ch, suffix, kind="classic", **arguments):
    """Declares a queue of this type; returns its name."""
    name = s.name(suffix)
    given = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    ch.queue(name, durable=True, arguments={"x-queue-type": kind, **given})
    return name


def publishes(ch, name, *bodies):
    for body in bodies:
        ch.publish("", name, body)
    ch.confirms()


def holds(ch, name, count):
    """Five messages, of which the queue keeps the last `count`."""
    publishes(ch, name, "1", "2", "3", "4", "5")
    ch.drain(name, count)


def _lower(kind):
    def run(s):
        v = s.vhost()
        ch = inside(s, v)
        for number, (argument, of_policy, of_operator) in enumerate((
                (2, 4, None), (4, 2, None), (None, 2, 4), (None, 4, 2), (2, None, 4), (4, None, 2), (3, 4, 2),
                (3, 2, 4), (0, 4, None))):
            name = f"q{number}"
            if of_policy is not None:
                policy(s, v, {"max_length": of_policy}, name, f"{name}$")
            if of_operator is not None:
                policy(s, v, {"max_length": of_operator}, name, f"{name}$", operator=True)
            q = queue(s, ch, name, kind, **({} if argument is None else {"max_length": argument}))
            holds(ch, q, min(n for n in (argument, of_policy, of_operator) if n is not None))
    return run


for _kind in KINDS:
    add(__name__, f"max_length_{_kind}", _lower(_kind),
        f"Of a {_kind} queue the lowest of x-max-length, policy and operator policy holds.")


@scenario
def max_length_bytes(s):
    """The lower of x-max-length-bytes and the policy holds."""
    v = s.vhost()
    policy(s, v, {"max_length_bytes": 3})
    ch = inside(s, v)
    holds(ch, queue(s, ch, "lower", max_length_bytes=2), 2)
    holds(ch, queue(s, ch, "higher", max_length_bytes=4), 3)


def _overflow(kind):
    def run(s):
        v = s.vhost()
        ch = inside(s, v)
        for number, (argument, of_policy, of_operator) in enumerate((
                ("reject-publish", "drop-head", None), ("drop-head", "reject-publish", None),
                (None, "reject-publish", None), (None, "reject-publish", "drop-head"),
                (None, "drop-head", "reject-publish"), ("drop-head", None, "reject-publish"))):
            name = f"q{number}"
            definition = {"max_length": 1} | ({"overflow": of_policy} if of_policy else {})
            policy(s, v, definition, name, f"{name}$")
            if of_operator:
                policy(s, v, {"overflow": of_operator}, name, f"{name}$", operator=True)
            q = queue(s, ch, name, kind, **({"overflow": argument} if argument else {}))
            publishes(ch, q, "1")
            ch.get_when_there(q)
            # A quorum queue of length 1 refuses when it is above that.
            for body in "234":
                publishes(ch, q, body)
            ch.get_when_there(q)
    return run


add(__name__, "overflow_classic", _overflow("classic"),
    "Of a classic queue x-overflow holds against the policy, and the operator policy against the policy.")


@scenario
def overflow_quorum(s):
    """Of a quorum queue the policy holds against x-overflow."""
    v = s.vhost()
    ch = inside(s, v)
    policy(s, v, {"max_length": 2, "overflow": "drop-head"})
    holds(ch, queue(s, ch, "drops", "quorum", overflow="reject-publish"), 2)


@scenario
def dead_letter_exchange(s):
    """x-dead-letter-exchange and x-dead-letter-routing-key hold against the policy, each by itself."""
    v = s.vhost()
    ch = inside(s, v)
    own, other = queue(s, ch, "own"), queue(s, ch, "other")
    policy(s, v, {"dead_letter_exchange": "", "dead_letter_routing_key": other, "max_length": 0}, pattern="q$")
    for kind in KINDS:
        for suffix, arguments, dead in (
                (f"{kind}-policy-q", {}, other),
                (f"{kind}-argument-q", {"dead_letter_exchange": "", "dead_letter_routing_key": own}, own),
                (f"{kind}-exchange-q", {"dead_letter_exchange": ""}, other)):
            publishes(ch, queue(s, ch, suffix, kind, **arguments), suffix)
            ch.get_when_there(dead)


def _ttl(kind):
    def run(s):
        v = s.vhost()
        ch = inside(s, v)
        dead = queue(s, ch, "dead")
        for suffix, argument, of_policy, of_operator in (
                ("argument", 50, 600000, None), ("policy", 600000, 50, None), ("operator", 600000, 600000, 50)):
            policy(s, v, {"message_ttl": of_policy, "dead_letter_exchange": "", "dead_letter_routing_key": dead},
                   suffix, f"{suffix}$")
            if of_operator:
                policy(s, v, {"message_ttl": of_operator}, suffix, f"{suffix}$", operator=True)
            publishes(ch, queue(s, ch, suffix, kind, message_ttl=argument), "m")
            ch.get_when_there(dead)
    return run


for _kind in KINDS:
    add(__name__, f"message_ttl_{_kind}", _ttl(_kind),
        f"Of a {_kind} queue the lowest of x-message-ttl, policy and operator policy holds.")


@scenario
@follows("4.3")
def delivery_limit(s):
    """The lower delivery limit holds; a negative one, which is none, loses to any other."""
    v = s.vhost()
    ch = inside(s, v)
    dead = queue(s, ch, "dead")
    for suffix, argument, of_policy in (("argument", 1, 3), ("policy", 3, 1), ("negative", -1, 1), ("positive", 1, -1)):
        policy(s, v, {"delivery_limit": of_policy, "dead_letter_exchange": "", "dead_letter_routing_key": dead},
               suffix, f"{suffix}$")
        q = queue(s, ch, suffix, "quorum", delivery_limit=argument)
        publishes(ch, q, suffix)
        for _ in range(2):
            got = ch.get_when_there(q, no_ack=False)
            ch.reject(got.fields["delivery-tag"], requeue=True)
        ch.get_when_there(dead)


@scenario
def highest_priority(s):
    """The policy of highest priority applies, and nothing of any other."""
    v = s.vhost()
    policy(s, v, {"max_length": 1}, "low", priority=-5)
    ch = inside(s, v)
    q = queue(s, ch, "q")
    holds(ch, q, 1)
    policy(s, v, {"max_length": 2}, "default")
    holds(ch, queue(s, ch, "r"), 2)
    policy(s, v, {"max_length_bytes": 100}, "high", priority=7)
    holds(ch, queue(s, ch, "s"), 5)
    cleared(s, v, "high")
    cleared(s, v, "default")
    holds(ch, queue(s, ch, "t"), 1)


@scenario
def key_for_another_type(s):
    """A policy with a key that a type of queue does not take is skipped for it, with all its keys."""
    v = s.vhost()
    policy(s, v, {"max_length": 3}, "low", priority=0)
    policy(s, v, {"max_length": 1, "delivery_limit": 5}, "quorum", priority=1)
    policy(s, v, {"max_length_bytes": 2, "max_age": "1h"}, "stream", priority=2)
    ch = inside(s, v)
    holds(ch, queue(s, ch, "classic", "classic"), 3)
    holds(ch, queue(s, ch, "quorum", "quorum"), 1)


def _apply_to(word):
    def run(s):
        v = s.vhost()
        policy(s, v, {"max_length": 1, "alternate_exchange": "amq.fanout"}, apply_to=word)
        ch = inside(s, v)
        for kind in KINDS:
            fits = word in ("all", "queues", f"{kind}_queues")
            holds(ch, queue(s, ch, kind, kind), 1 if fits else 5)
        rest = queue(s, ch, "rest")
        ch.bind(rest, "amq.fanout")
        ch.publish("amq.direct", "none", "m", mandatory=True)
        ch.confirms()
        ch.barrier()
    return run


for _word in ("all", "queues", "classic_queues", "quorum_queues", "streams", "exchanges"):
    add(__name__, f"apply_to_{_word}", _apply_to(_word), f"A policy that applies to {_word}.")


@scenario
def patterns(s):
    """A pattern matches anywhere in a name; the empty one matches all, server-named and exclusive queues too."""
    v = s.vhost()
    ch = inside(s, v)
    for number, (pattern, name, fits) in enumerate((
            ("idd", "middle", True), ("^idd", "middle", False), ("^.*le$", "middle", True), ("a|b", "xbx", True),
            (r"^\w+-\d{2}$", "n-12", False), ("(?i)MIDDLE", "middle", True))):
        policy(s, v, {"max_length": 1}, pattern=pattern)
        holds(ch, queue(s, ch, f"{number}-{name}"), 1 if fits else 5)
    policy(s, v, {"max_length": 1})
    generated = ch.queue(exclusive=True).fields["queue"]
    holds(ch, generated, 1)


@scenario
def redeclared(s):
    """A policy changes no argument: a queue is declared again as it was, and not with the policy's value."""
    v = s.vhost()
    policy(s, v, {"max_length": 1})
    ch = inside(s, v)
    q = queue(s, ch, "q")
    queue(s, ch, "q")
    ch.call("queue.declare", queue=q, durable=True, arguments={"x-queue-type": "classic", "x-max-length": 1})


def _live(kind):
    def run(s):
        v = s.vhost()
        ch = inside(s, v)
        q, dead = queue(s, ch, "q", kind), queue(s, ch, "dead")
        publishes(ch, q, "1", "2", "3", "4")
        policy(s, v, {"max_length": 2, "dead_letter_exchange": "", "dead_letter_routing_key": dead}, pattern="q$")
        ch.counts_when(q, messages=2)
        ch.drain(dead, 2)
        policy(s, v, {"max_length": 3}, pattern="q$")
        publishes(ch, q, "5", "6")
        ch.counts_when(q, messages=3)
        cleared(s, v)
        publishes(ch, q, "7", "8")
        ch.drain(q, 5)
    return run


add(__name__, "live_classic", _live("classic"), "A classic queue with messages gets policies, and loses them.")


@scenario
def alternate_exchange(s):
    """An alternate exchange by policy takes unroutable messages from then on; the argument holds against it."""
    v = s.vhost()
    ch = inside(s, v)
    x, own, rest = s.name("x"), s.name("own-x"), queue(s, ch, "rest")
    ch.exchange(x)
    ch.exchange(own, arguments={"alternate-exchange": "amq.topic"})
    ch.bind(rest, "amq.fanout")

    def publish(exchange):
        ch.publish(exchange, "none", "m", mandatory=True)
        ch.confirms()
        ch.barrier()

    publish(x)
    policy(s, v, {"alternate_exchange": "amq.fanout"}, pattern="x$")
    publish(x)
    publish(own)
    ch.drain(rest, 1)
    cleared(s, v)
    publish(x)


@scenario
def operator_cleared(s):
    """The policy holds unbounded when the operator policy is cleared."""
    v = s.vhost()
    policy(s, v, {"max_length": 3})
    policy(s, v, {"max_length": 1}, operator=True)
    ch = inside(s, v)
    holds(ch, queue(s, ch, "q"), 1)
    cleared(s, v, operator=True)
    holds(ch, queue(s, ch, "r"), 3)


@scenario
@follows("4.3")
def delayed_retry(s):
    """The policy's type of delayed retry holds against the argument, and the lower of both delays."""
    v = s.vhost()
    policy(s, v, {"delayed_retry_type": "all", "delayed_retry_min": 400})
    ch = inside(s, v)
    for suffix, arguments in (("policy", {}), ("disabled", {"delayed_retry_type": "disabled", "delayed_retry_min": 60000})):
        q = queue(s, ch, suffix, "quorum", **arguments)
        publishes(ch, q, suffix)
        got = ch.get_when_there(q, no_ack=False)
        with s.takes(0.4, 0.5):
            ch.reject(got.fields["delivery-tag"], requeue=True)
            ch.get_when_there(q)


@scenario
@follows("4.3")
def delayed_retry_bounds(s):
    """Of the shortest delays the operator's higher one holds, and of the longest ones the lower one."""
    v = s.vhost()
    policy(s, v, {"delayed_retry_type": "all", "delayed_retry_min": 1})
    policy(s, v, {"delayed_retry_min": 400, "delayed_retry_max": 500}, operator=True)
    ch = inside(s, v)
    q = queue(s, ch, "q", "quorum")
    publishes(ch, q, "m")
    for _ in range(2):
        got = ch.get_when_there(q, no_ack=False)
        with s.takes(0.45, 0.5):
            ch.reject(got.fields["delivery-tag"], requeue=True)
            got = ch.get_when_there(q, no_ack=False)
        ch.reject(got.fields["delivery-tag"], requeue=True)
