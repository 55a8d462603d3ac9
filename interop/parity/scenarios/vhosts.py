# Virtual hosts: missing, refused, deleted while in use, their limits.

from parity.control import limits_json
from parity.session import add, scenario
from scenarios.users import open_vhost, opens, start


def limited(s, vhost, **limits):
    """Sets limits of a virtual host."""
    s.ctl("set_vhost_limits", "-p", vhost, limits_json(limits))


def inside(s, vhost):
    """A further channel of guest in this virtual host."""
    return s.connect(vhost=vhost).channel()


@scenario
def no_rights(s):
    """A user with rights in another virtual host only."""
    v = s.vhost()
    c = start(s, s.user())
    open_vhost(c, v)
    c.expect_close()


@scenario
def missing_without_rights(s):
    """One that does not exist, by a user without rights anywhere."""
    c = start(s, s.user(configure=None))
    open_vhost(c, s.name("none"))
    c.expect_close()


@scenario
def deleted(s):
    """One that was deleted."""
    v = s.vhost()
    s.ctl("delete_vhost", v)
    c = start(s, "guest", "guest")
    open_vhost(c, v)
    c.expect_close()


@scenario
def deleted_while_open(s):
    """Its connections end when it is deleted."""
    v = s.vhost()
    ch = inside(s, v)
    ch.queue(s.name("q"))
    s.ctl("delete_vhost", v)
    ch.connection.expect_close()


@scenario
def deleted_while_consuming(s):
    """A consumer hears of the connection's end and no cancel."""
    v = s.vhost()
    ch = inside(s, v)
    ch.queue(s.name("q"))
    ch.consume(s.name("q"), "a")
    s.ctl("delete_vhost", v)
    ch.connection.expect_close()


@scenario
def made_again(s):
    """One that is made again is empty, and has no rights of the former."""
    v = s.vhost()
    inside(s, v).queue(s.name("q"), durable=True)
    s.ctl("delete_vhost", v)
    s.connections[0].expect_close()
    s.ctl("add_vhost", v)
    c = start(s, "guest", "guest")
    open_vhost(c, v)
    c.expect_close()
    s.ctl("set_permissions", "-p", v, "guest", ".*", ".*", ".*")
    inside(s, v).counts(s.name("q"))


@scenario
def names_are_apart(s):
    """Queues of the same name in two virtual hosts are two queues."""
    here, there = s.channel(), inside(s, s.vhost())
    here.queue(s.name("q"))
    there.queue(s.name("q"), arguments={"x-max-length": 1})
    here.confirm()
    here.publish("", s.name("q"), "1")
    here.confirms()
    there.get(s.name("q"))
    here.get(s.name("q"))


@scenario
def named_in_errors(s):
    """Errors name the virtual host."""
    ch = inside(s, s.vhost())
    ch.queue(s.name("q"), passive=True)


@scenario
def exclusive_owner_elsewhere(s):
    """A queue is exclusive within its virtual host."""
    s.channel().queue(s.name("q"), exclusive=True)
    inside(s, s.vhost()).queue(s.name("q"), exclusive=True)


@scenario
def predeclared_exchanges(s):
    """It has the predeclared exchanges from the beginning."""
    ch = inside(s, s.vhost())
    for name in ("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match", "amq.rabbitmq.trace"):
        ch.exchange(name, passive=True)


@scenario
def rights_of_one(s):
    """Rights hold for one virtual host only."""
    v, u = s.vhost(), s.user("u", "", "", "")
    s.ctl("set_permissions", "-p", v, u, ".*", ".*", ".*")
    s.login(u, v).channel().queue(s.name("q"))
    s.login(u).channel().queue(s.name("q"))


@scenario
def topic_rights_of_one(s):
    """Topic permissions, too."""
    v, u = s.vhost(), s.user()
    s.ctl("set_permissions", "-p", v, u, ".*", ".*", ".*")
    s.ctl("set_topic_permissions", "-p", v, u, "amq.topic", "^a", "^a")
    here, there = s.login(u).channel(), s.login(u, v).channel()
    here.publish("amq.topic", "b", "1")
    here.barrier()
    there.publish("amq.topic", "b", "1")
    there.barrier()


def _default_type(kind):
    def run(s):
        ch = inside(s, s.vhost(default_queue_type=kind))
        ch.queue(s.name("q"), durable=True)
        ch.queue(s.name("q"), durable=True, arguments={"x-queue-type": kind})
        ch.queue(s.name("q"), durable=True, arguments={"x-queue-type": "quorum" if kind == "classic" else "classic"})
    return run


for _kind in ("classic", "quorum", "stream"):
    add(__name__, f"default_queue_type_{_kind}", _default_type(_kind),
        f"A queue that is declared without a type where the default is {_kind}.")


@scenario
def default_queue_type_exclusive(s):
    """An exclusive queue is classic, whatever the default."""
    ch = inside(s, s.vhost(default_queue_type="quorum"))
    ch.queue(s.name("q"), exclusive=True)
    ch.queue("", exclusive=True, auto_delete=True)


# -- limits


@scenario
def max_connections_0(s):
    """No connection is allowed."""
    v = s.vhost()
    limited(s, v, max_connections=0)
    c = start(s, "guest", "guest")
    open_vhost(c, v)
    c.expect_close()


@scenario
def max_connections_1(s):
    """The second is refused."""
    v = s.vhost()
    limited(s, v, max_connections=1)
    opens(s, password="guest", vhost=v)
    c = start(s, "guest", "guest")
    open_vhost(c, v)
    c.expect_close()


@scenario
def max_connections_free_again(s):
    """A connection that closed counts no more."""
    v = s.vhost()
    limited(s, v, max_connections=1)
    opens(s, password="guest", vhost=v).close()
    opens(s, password="guest", vhost=v)


@scenario
def max_connections_lowered(s):
    """A limit below what is there closes nothing."""
    v = s.vhost()
    ch, _ = inside(s, v), inside(s, v)
    limited(s, v, max_connections=1)
    ch.queue(s.name("q"))


@scenario
def max_queues_0(s):
    """No queue is allowed."""
    v = s.vhost()
    limited(s, v, max_queues=0)
    inside(s, v).queue(s.name("q"))


def _max_queues(title):
    """A scenario in a virtual host that holds the one queue it may."""
    def mark(function):
        def run(s):
            v = s.vhost()
            limited(s, v, max_queues=1)
            ch = inside(s, v)
            ch.queue(s.name("q"))
            function(s, ch)
        add(__name__, f"max_queues_1_{function.__name__}", run, title)
        return run
    return mark


@_max_queues("A second queue.")
def further(s, ch):
    ch.queue(s.name("r"))


@_max_queues("The same queue again.")
def same_again(s, ch):
    ch.queue(s.name("q"))


@_max_queues("The same queue with other arguments: which of the two is told.")
def inequivalent(s, ch):
    ch.queue(s.name("q"), durable=True)


@_max_queues("A passive declare of a queue that is not there.")
def passive(s, ch):
    ch.queue(s.name("r"), passive=True)


@_max_queues("An exclusive queue counts as any other.")
def exclusive(s, ch):
    ch.queue("", exclusive=True)


@_max_queues("A quorum queue counts as any other.")
def quorum(s, ch):
    ch.queue(s.name("r"), durable=True, arguments={"x-queue-type": "quorum"})


@_max_queues("A deleted queue leaves its place.")
def after_delete(s, ch):
    ch.call("queue.delete", queue=s.name("q"))
    ch.queue(s.name("r"))


@_max_queues("The queue at direct reply-to counts as none.")
def reply_to(s, ch):
    ch.consume("amq.rabbitmq.reply-to", "a", no_ack=True)


@scenario
def max_queues_negative(s):
    """-1 is no limit."""
    v = s.vhost()
    limited(s, v, max_queues=-1)
    inside(s, v).queue(s.name("q"))


@scenario
def max_queues_cleared(s):
    """A cleared limit is none."""
    v = s.vhost()
    limited(s, v, max_queues=0)
    s.ctl("clear_vhost_limits", "-p", v)
    inside(s, v).queue(s.name("q"))


@scenario
def max_queues_auto_deleted(s):
    """A queue that deletes itself leaves its place."""
    v = s.vhost()
    limited(s, v, max_queues=1)
    ch = inside(s, v)
    ch.queue(s.name("q"), auto_delete=True)
    ch.consume(s.name("q"), "a")
    ch.call("basic.cancel", consumer_tag="a")
    ch.queue(s.name("r"))
