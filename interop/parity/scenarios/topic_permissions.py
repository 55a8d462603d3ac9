# Rights on routing keys of topic exchanges.

from parity.session import add, scenario


def begin(s, write="^a[.]", read="^b[.]"):
    """Guest's channel with a queue that takes everything of a topic exchange; one of a user with such keys only."""
    owner, u = s.channel(), s.user("u")
    owner.exchange(s.name("x"), "topic")
    owner.queue(s.name("q"))
    owner.bind(s.name("q"), s.name("x"), "#")
    s.ctl("set_topic_permissions", u, s.name("x"), write, read)
    return owner, s.login(u).channel()


def publish(s, ch, key, **properties):
    """A publish and what comes of it."""
    ch.publish(s.name("x"), key, "1", **properties)
    ch.barrier()


@scenario
def publish_allowed(s):
    """A key that matches."""
    owner, ch = begin(s)
    publish(s, ch, "a.1")
    owner.counts_when(s.name("q"), messages=1)


@scenario
def publish_refused(s):
    """A key that does not."""
    owner, ch = begin(s)
    publish(s, ch, "b.1")


@scenario
def publish_key_empty(s):
    """The empty key."""
    owner, ch = begin(s)
    publish(s, ch, "")


@scenario
def bind_allowed(s):
    """A binding key that matches."""
    owner, ch = begin(s)
    ch.bind(s.name("q"), s.name("x"), "b.*")


@scenario
def bind_refused(s):
    """A binding key that does not."""
    owner, ch = begin(s)
    ch.bind(s.name("q"), s.name("x"), "a.*")


@scenario
def bind_everything(s):
    """The key # is looked at as it stands."""
    owner, ch = begin(s)
    ch.bind(s.name("q"), s.name("x"), "#")


@scenario
def unbind_refused(s):
    """Unbinding needs the same."""
    owner, ch = begin(s)
    ch.call("queue.unbind", queue=s.name("q"), exchange=s.name("x"), routing_key="#")


@scenario
def exchange_bind_refused(s):
    """Binding an exchange to it, too."""
    owner, ch = begin(s)
    owner.exchange(s.name("y"), "fanout")
    ch.call("exchange.bind", destination=s.name("y"), source=s.name("x"), routing_key="a.*")


@scenario
def exchange_bind_as_destination(s):
    """As the destination of a binding its keys are not looked at."""
    owner, ch = begin(s)
    owner.exchange(s.name("y"), "fanout")
    ch.call("exchange.bind", destination=s.name("x"), source=s.name("y"), routing_key="z")


def _copies(headers, key="a.1"):
    def run(s):
        owner, ch = begin(s)
        publish(s, ch, key, headers=headers)
        owner.counts_when(s.name("q"), messages=0 if ch.closed else 1)
    return run


for _name, _headers, _title in (
    ("cc_allowed", {"CC": ["a.2"]}, "A key in CC that matches."),
    ("cc_refused", {"CC": ["b.2"]}, "A key in CC that does not."),
    ("bcc_allowed", {"BCC": ["a.2"]}, "A key in BCC that matches."),
    ("bcc_refused", {"BCC": ["b.2"]}, "A key in BCC that does not."),
    ("cc_one_of_three_refused", {"CC": ["a.2", "a.3", "b.4"]}, "The last of three keys in CC does not match."),
    ("cc_and_bcc_refused", {"CC": ["c.2"], "BCC": ["b.2"]}, "Neither of CC and BCC matches: which key is named."),
):
    add(__name__, _name, _copies(_headers), _title)

add(__name__, "key_and_cc_refused", _copies({"CC": ["c.2"]}, "b.1"), "Neither the key nor CC matches: which key is named.")


def _in_transaction(key, **properties):
    def run(s):
        owner, ch = begin(s)
        ch.call("tx.select")
        ch.publish(s.name("x"), key, "1", **properties)
        ch.expect_close()
        owner.counts(s.name("q"))
    return run


add(__name__, "transaction_refused", _in_transaction("b.1"), "In a transaction a key is refused at its publish.")
add(__name__, "transaction_cc_refused", _in_transaction("a.1", headers={"CC": ["b.1"]}),
    "In a transaction a key in CC is refused at its publish.")
add(__name__, "transaction_bcc_refused", _in_transaction("a.1", headers={"BCC": ["b.1"]}),
    "In a transaction a key in BCC is refused at its publish.")


@scenario
def confirms_refused(s):
    """With confirms a refusal ends the channel without a nack."""
    owner, ch = begin(s)
    ch.confirm()
    ch.publish(s.name("x"), "a.1", "1", headers={"CC": ["b.1"]})
    ch.expect_close()
    owner.counts(s.name("q"))


@scenario
def other_exchange(s):
    """Topic exchanges without such rights are free."""
    owner, ch = begin(s)
    owner.exchange(s.name("y"), "topic")
    ch.publish(s.name("y"), "b.1", "1")
    ch.barrier()
    ch.bind(s.name("q"), s.name("y"), "a.1")


@scenario
def other_type(s):
    """On an exchange of another type they mean nothing."""
    owner, ch = begin(s)
    owner.exchange(s.name("y"), "direct")
    s.ctl("set_topic_permissions", s.name("u"), s.name("y"), "^a", "^b")
    ch.publish(s.name("y"), "b.1", "1", headers={"CC": ["b.2"]})
    ch.barrier()
    ch.bind(s.name("q"), s.name("y"), "a.1")


@scenario
def by_another_exchange(s):
    """A message that comes from another exchange is not looked at."""
    owner, ch = begin(s)
    owner.exchange(s.name("y"), "fanout")
    owner.call("exchange.bind", destination=s.name("x"), source=s.name("y"))
    ch.publish(s.name("y"), "b.1", "1")
    owner.counts_when(s.name("q"), messages=1)


@scenario
def variables(s):
    """{username} and {vhost} stand for the connection's."""
    owner, ch = begin(s, write="^{username}[.]{vhost}$")
    publish(s, ch, f"{s.name('u')}./")
    owner.counts_when(s.name("q"), messages=1)
    publish(s, ch, f"{s.name('v')}./")


@scenario
def empty_pattern(s):
    """An empty pattern allows nothing but the empty key."""
    owner, ch = begin(s, write="", read="")
    publish(s, ch, "")
    publish(s, ch, "a")


@scenario
def cleared(s):
    """Cleared rights leave all keys free."""
    owner, ch = begin(s)
    s.ctl("clear_topic_permissions", s.name("u"), s.name("x"))
    publish(s, ch, "b.1")
    owner.counts_when(s.name("q"), messages=1)


@scenario
def changed_while_open(s):
    """Changed rights hold on a channel opened afterwards."""
    owner, ch = begin(s)
    publish(s, ch, "a.1")
    s.ctl("set_topic_permissions", s.name("u"), s.name("x"), "^c", "^c")
    publish(s, ch.connection.channel(), "c.1")
    owner.counts_when(s.name("q"), messages=2)
    publish(s, ch.connection.channel(), "a.1")


@scenario
def without_write_right(s):
    """A matching key does not help a user without the right to write to the exchange."""
    owner, ch = begin(s)
    s.ctl("set_permissions", s.name("u"), ".*", "", ".*")
    publish(s, ch, "a.1")
