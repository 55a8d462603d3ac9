# Binding and unbinding queues and exchanges: errors, repetition, removal. Routing is in routing.py.

from parity.session import add, scenario


@scenario
def bind_twice(s):
    """Binding twice in the same way makes one binding."""
    ch = s.channel()
    q, x = s.name("q"), s.name("x")
    ch.exchange(x)
    ch.queue(q)
    ch.bind(q, x, "k")
    ch.bind(q, x, "k")
    ch.publish(x, "k", "m")
    ch.drain(q, 1)
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="k")
    ch.publish(x, "k", "lost", mandatory=True)
    ch.expect("basic.return")


@scenario
def bind_other_arguments_is_another_binding(s):
    """Bindings that differ in their arguments are different; a message still comes once."""
    ch = s.channel()
    q, x = s.name("q"), s.name("x")
    ch.exchange(x)
    ch.queue(q)
    ch.bind(q, x, "k", arguments={"n": 1})
    ch.bind(q, x, "k", arguments={"n": 2})
    ch.publish(x, "k", "m")
    ch.drain(q, 1)
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="k", arguments={"n": 1})
    ch.publish(x, "k", "m")
    ch.drain(q, 1)
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="k")
    ch.publish(x, "k", "still bound")
    ch.drain(q, 1)


@scenario
def bind_missing_queue(s):
    """Binding a missing queue is a 404."""
    s.channel().bind(s.name("q"), "amq.direct", "k")


@scenario
def bind_missing_exchange(s):
    """Binding to a missing exchange is a 404."""
    ch = s.channel()
    ch.queue(s.name("q"))
    ch.bind(s.name("q"), s.name("x"), "k")


@scenario
def bind_both_missing(s):
    """When both are missing, one of them is named."""
    s.channel().bind(s.name("q"), s.name("x"), "k")


@scenario
def bind_default_exchange(s):
    """Nothing can be bound to the default exchange."""
    ch = s.channel()
    ch.queue(s.name("q"))
    ch.bind(s.name("q"), "", "k")


@scenario
def unbind_default_exchange(s):
    """Nor unbound from it."""
    ch = s.channel()
    ch.queue(s.name("q"))
    ch.call("queue.unbind", queue=s.name("q"), exchange="", routing_key=s.name("q"))


@scenario
def bind_internal_exchange(s):
    """Queues may be bound to internal exchanges."""
    ch = s.channel()
    ch.exchange(s.name("x"), internal=True)
    ch.queue(s.name("q"))
    ch.bind(s.name("q"), s.name("x"), "k")


@scenario
def unbind_missing_binding(s):
    """Unbinding what is not bound succeeds."""
    ch = s.channel()
    ch.queue(s.name("q"))
    ch.call("queue.unbind", queue=s.name("q"), exchange="amq.direct", routing_key="never bound")


@scenario
def unbind_missing_queue(s):
    """Unbinding a missing queue."""
    s.channel().call("queue.unbind", queue=s.name("q"), exchange="amq.direct", routing_key="k")


@scenario
def unbind_missing_exchange(s):
    """Unbinding from a missing exchange."""
    ch = s.channel()
    ch.queue(s.name("q"))
    ch.call("queue.unbind", queue=s.name("q"), exchange=s.name("x"), routing_key="k")


@scenario
def unbind_both_missing(s):
    """Unbinding with neither queue nor exchange there."""
    s.channel().call("queue.unbind", queue=s.name("q"), exchange=s.name("x"), routing_key="k")


@scenario
def bind_no_wait(s):
    """no-wait binds have no reply, but work and fail as others."""
    ch = s.channel()
    q, x = s.name("q"), s.name("x")
    ch.exchange(x)
    ch.queue(q)
    ch.send("queue.bind", queue=q, exchange=x, routing_key="k", no_wait=True)
    ch.barrier()
    ch.publish(x, "k", "m")
    ch.get_when_there(q)
    ch.send("queue.bind", queue=q, exchange=s.name("missing"), routing_key="k", no_wait=True)
    ch.expect_close()


# ------------------------------------------------------------ exchange to exchange

@scenario
def exchange_bind(s):
    """A message passes from exchange to exchange; the delivery names the first one."""
    ch = s.channel()
    a, b, q = s.name("a"), s.name("b"), s.name("q")
    ch.exchange(a, "direct")
    ch.exchange(b, "fanout")
    ch.queue(q)
    ch.call("exchange.bind", destination=b, source=a, routing_key="k")
    ch.bind(q, b, "ignored")
    ch.publish(a, "k", "m")
    ch.drain(q, 1)
    ch.call("exchange.unbind", destination=b, source=a, routing_key="k")
    ch.publish(a, "k", "m", mandatory=True)
    ch.expect("basic.return")


@scenario
def exchange_bind_into_internal(s):
    """Internal exchanges get messages from other exchanges."""
    ch = s.channel()
    a, b, q = s.name("a"), s.name("b"), s.name("q")
    ch.exchange(a, "fanout")
    ch.exchange(b, "fanout", internal=True)
    ch.queue(q)
    ch.call("exchange.bind", destination=b, source=a)
    ch.bind(q, b)
    ch.publish(a, "k", "m")
    ch.drain(q, 1)


@scenario
def exchange_bind_cycle(s):
    """Cycles are allowed; each queue gets a message once."""
    ch = s.channel()
    a, b, q, r = s.name("a"), s.name("b"), s.name("q"), s.name("r")
    for x in (a, b):
        ch.exchange(x, "fanout")
    ch.queue(q)
    ch.queue(r)
    ch.call("exchange.bind", destination=b, source=a)
    ch.call("exchange.bind", destination=a, source=b)
    ch.call("exchange.bind", destination=a, source=a)
    ch.bind(q, a)
    ch.bind(q, b)
    ch.bind(r, b)
    ch.publish(a, "", "m")
    ch.drain(q, 1)
    ch.drain(r, 1)


@scenario
def exchange_bind_diamond(s):
    """Two ways to one queue still make one copy."""
    ch = s.channel()
    a, b, c, q = (s.name(n) for n in "abcq")
    for x in (a, b, c):
        ch.exchange(x, "fanout")
    ch.queue(q)
    for x in (b, c):
        ch.call("exchange.bind", destination=x, source=a)
        ch.bind(q, x)
    ch.publish(a, "", "m")
    ch.drain(q, 1)


_E2E = {"missing_source": ("missing", "there"), "missing_destination": ("there", "missing"),
        "both_missing": ("missing", "gone"), "default_source": ("", "there"), "default_destination": ("there", "")}


def _exchange_bind(method, source, destination):
    def run(s):
        ch = s.channel()
        ch.exchange(s.name("there"), "fanout")
        ch.call(method, source=source and s.name(source), destination=destination and s.name(destination),
                routing_key="k")
    return run


for _name, (_source, _destination) in _E2E.items():
    for _verb in ("bind", "unbind"):
        add(__name__, f"exchange_{_verb}_{_name}", _exchange_bind(f"exchange.{_verb}", _source, _destination),
            f"exchange.{_verb} with {_name.replace('_', ' ')}.")


@scenario
def exchange_unbind_missing_binding(s):
    """Unbinding exchanges that are not bound succeeds."""
    ch = s.channel()
    ch.exchange(s.name("x"), "fanout")
    ch.call("exchange.unbind", source=s.name("x"), destination="amq.fanout", routing_key="k")


@scenario
def exchange_bind_no_wait(s):
    """exchange.bind and exchange.unbind know no-wait."""
    ch = s.channel()
    a, b, q = s.name("a"), s.name("b"), s.name("q")
    ch.exchange(a, "fanout")
    ch.exchange(b, "fanout")
    ch.queue(q)
    ch.bind(q, b)
    ch.send("exchange.bind", source=a, destination=b, no_wait=True)
    ch.publish(a, "", "m")
    ch.get_when_there(q)
    ch.send("exchange.unbind", source=a, destination=b, no_wait=True)
    ch.publish(a, "", "m", mandatory=True)
    ch.expect("basic.return")


@scenario
def exchange_delete_removes_bindings(s):
    """An exchange that is declared again has none of its old bindings, as source and destination."""
    ch = s.channel()
    a, b, q = s.name("a"), s.name("b"), s.name("q")
    ch.exchange(a, "fanout")
    ch.exchange(b, "fanout")
    ch.queue(q)
    ch.call("exchange.bind", source=a, destination=b)
    ch.bind(q, b)
    ch.call("exchange.delete", exchange=b)
    ch.exchange(b, "fanout")
    ch.publish(a, "", "m", mandatory=True)
    ch.expect("basic.return")
    ch.publish(b, "", "m", mandatory=True)
    ch.expect("basic.return")


# ------------------------------------------------------------ arguments of bindings to headers exchanges

def _headers_bind(arguments):
    def run(s):
        ch = s.channel()
        ch.exchange(s.name("x"), "headers")
        ch.queue(s.name("q"))
        ch.bind(s.name("q"), s.name("x"), arguments=arguments)
    return run


for _name, _value in {
    "all": "all", "any": "any", "all_with_x": "all-with-x", "any_with_x": "any-with-x", "unknown": "some",
    "empty": "", "number": 1, "boolean": True, "upper_case": "ALL",
}.items():
    add(__name__, f"x_match_{_name}", _headers_bind({"x-match": _value, "a": 1}), f"A binding with x-match {_value!r}.")
