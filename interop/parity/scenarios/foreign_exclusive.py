# Exclusive queues of another connection: only publishing to them is allowed.

from parity.session import add, scenario


def begin(s):
    """The owner's channel, and another connection's."""
    owner = s.channel()
    owner.queue(s.name("q"), exclusive=True)
    owner.exchange(s.name("x"), "fanout")
    owner.bind(s.name("q"), s.name("x"))
    return owner, s.connect().channel()


METHODS = {
    "bind": lambda ch, s: ch.bind(s.name("q"), s.name("x"), "other"),
    "bind_again": lambda ch, s: ch.bind(s.name("q"), s.name("x")),
    "unbind": lambda ch, s: ch.call("queue.unbind", queue=s.name("q"), exchange=s.name("x")),
    "unbind_missing_binding": lambda ch, s: ch.call(
        "queue.unbind", queue=s.name("q"), exchange=s.name("x"), routing_key="none"),
    "unbind_missing_exchange": lambda ch, s: ch.call("queue.unbind", queue=s.name("q"), exchange=s.name("none")),
    "bind_missing_exchange": lambda ch, s: ch.bind(s.name("q"), s.name("none")),
    "bind_default_exchange": lambda ch, s: ch.bind(s.name("q"), ""),
    "unbind_default_exchange": lambda ch, s: ch.call("queue.unbind", queue=s.name("q"), exchange=""),
    "delete": lambda ch, s: ch.call("queue.delete", queue=s.name("q")),
    "delete_if_empty": lambda ch, s: ch.call("queue.delete", queue=s.name("q"), if_empty=True),
    "purge": lambda ch, s: ch.call("queue.purge", queue=s.name("q")),
    "get": lambda ch, s: ch.get(s.name("q")),
    "consume": lambda ch, s: ch.consume(s.name("q"), "a"),
    "declare": lambda ch, s: ch.queue(s.name("q"), exclusive=True),
    "declare_not_exclusive": lambda ch, s: ch.queue(s.name("q")),
    "declare_passive": lambda ch, s: ch.queue(s.name("q"), passive=True),
    "delete_exchange": lambda ch, s: ch.call("exchange.delete", exchange=s.name("x")),
    "publish": lambda ch, s: (ch.publish("", s.name("q"), "1", mandatory=True), ch.barrier()),
}


def _method(action):
    def run(s):
        owner, ch = begin(s)
        action(ch, s)
        owner.call("queue.unbind", queue=s.name("q"), exchange=s.name("x"))
    return run


for _name, _action in METHODS.items():
    add(__name__, _name, _method(_action), f"{_name.replace('_', ' ')} of another connection's exclusive queue.")


@scenario
def unbind_on_own_other_channel(s):
    """Another channel of the same connection may unbind."""
    owner, _ = begin(s)
    owner.connection.channel().call("queue.unbind", queue=s.name("q"), exchange=s.name("x"))
