# Users: the user-id of messages, users that are deleted or changed while connected, their limits.

from parity.control import limits_json
from parity.session import PASSWORD, add, scenario, slow
from scenarios.handshake import begin


def open_vhost(c, vhost="/"):
    """From connection.tune to connection.open, not logged; the answer is left to come."""
    with c.log.unlogged():
        c.expect("connection.tune")
        c.send("connection.tune-ok", channel_max=2047, frame_max=131072, heartbeat=0)
    c.send("connection.open", virtual_host=vhost)


def start(s, user, password=PASSWORD):
    """A connection that has sent its name and password."""
    return begin(s, response=f"\0{user}\0{password}")


def opens(s, user="guest", password=PASSWORD, vhost="/"):
    """A login, and the answer to its connection.open."""
    c = start(s, user, password)
    open_vhost(c, vhost)
    c.wait(0, lambda e: True, "an answer")
    return c


def refused(s, user, password=PASSWORD):
    """A login and its refusal."""
    start(s, user, password).expect_close()


# -- user-id


def publish_as(s, ch, user_id):
    """A confirmed publish with this user-id."""
    ch.confirm()
    ch.publish("amq.fanout", "", "1", user_id=user_id)
    ch.confirms()


@scenario
def user_id_own(s):
    """A user-id that is the connection's user."""
    publish_as(s, s.login(s.user()).channel(), s.name("u"))


@scenario
def user_id_other(s):
    """A user-id that is another user."""
    s.user("other")
    publish_as(s, s.login(s.user()).channel(), s.name("other"))


@scenario
def user_id_empty(s):
    """An empty user-id."""
    publish_as(s, s.login(s.user()).channel(), "")


@scenario
def user_id_administrator(s):
    """An administrator may not publish as another, either."""
    publish_as(s, s.login(s.user(tags=("administrator",))).channel(), "guest")


@scenario
def user_id_impersonator(s):
    """The tag impersonator allows any user-id."""
    publish_as(s, s.login(s.user(tags=("impersonator",))).channel(), "guest")


@scenario
def user_id_impersonates_nobody(s):
    """One of a user that does not exist, too."""
    publish_as(s, s.login(s.user(tags=("impersonator",))).channel(), s.name("none"))


@scenario
def user_id_tag_given_while_open(s):
    """The tag counts from the next login on."""
    ch = s.login(s.user()).channel()
    s.ctl("set_user_tags", s.name("u"), "impersonator")
    publish_as(s, ch, "guest")
    publish_as(s, s.login(s.name("u")).channel(), "guest")


@scenario
def user_id_tag_taken_while_open(s):
    """A connection keeps the tags that its user had."""
    ch = s.login(s.user(tags=("impersonator",))).channel()
    s.ctl("set_user_tags", s.name("u"))
    publish_as(s, ch, "guest")
    publish_as(s, s.login(s.name("u")).channel(), "guest")


@scenario
def user_id_in_transaction(s):
    """In a transaction a wrong user-id is refused at its publish."""
    ch = s.login(s.user()).channel()
    ch.call("tx.select")
    ch.publish("amq.fanout", "", "1", user_id="guest")
    ch.expect_close()


@scenario
def user_id_without_write_right(s):
    """A wrong user-id and no right to write: which of the two is told."""
    ch = s.login(s.user("u", ".*", "", ".*")).channel()
    ch.publish("amq.fanout", "", "1", user_id="guest")
    ch.expect_close()


@scenario
def user_id_to_missing_exchange(s):
    """A wrong user-id and a missing exchange."""
    ch = s.login(s.user()).channel()
    ch.publish(s.name("none"), "", "1", user_id="guest")
    ch.expect_close()


# -- logging in


@scenario
def password_changed(s):
    """After a change the old password is refused and the new one taken."""
    u = s.user()
    s.ctl("change_password", u, "other")
    refused(s, u)
    s.connect(user=u, password="other").channel().barrier()


@scenario
def password_changed_while_open(s):
    """A connection stays when its user's password changes."""
    ch = s.login(s.user()).channel()
    s.ctl("change_password", s.name("u"), "other")
    ch.queue(s.name("q"))
    ch.connection.channel().queue(s.name("q"))


@scenario
def password_cleared(s):
    """A user without password does not log in with one, nor with the empty one."""
    u = s.user()
    s.ctl("clear_password", u)
    refused(s, u)
    refused(s, u, "")


@scenario
def password_of_another(s):
    """The password of another user."""
    s.user()
    s.user("v")
    s.ctl("change_password", s.name("v"), "other")
    refused(s, s.name("u"), "other")


@scenario
def deleted(s):
    """A deleted user does not log in."""
    u = s.user()
    s.ctl("delete_user", u)
    refused(s, u)


@scenario
def deleted_and_made_again(s):
    """A user that is made again has no rights of the former."""
    u = s.user()
    s.ctl("delete_user", u)
    s.ctl("add_user", u, PASSWORD)
    c = start(s, u)
    open_vhost(c)
    c.expect_close()


@scenario
def deleted_before_open(s):
    """A user that is deleted between login and connection.open."""
    c = start(s, s.user())
    c.expect("connection.tune")
    s.ctl("delete_user", s.name("u"))
    c.send("connection.tune-ok", channel_max=2047, frame_max=131072, heartbeat=0)
    c.send("connection.open", virtual_host="/")
    c.expect_close()


@scenario
def password_changed_before_open(s):
    """A password that changes between login and connection.open."""
    c = start(s, s.user())
    c.expect("connection.tune")
    s.ctl("change_password", s.name("u"), "other")
    c.send("connection.tune-ok", channel_max=2047, frame_max=131072, heartbeat=0)
    c.send("connection.open", virtual_host="/")
    c.expect("connection.open-ok")


@scenario
def rights_cleared_before_open(s):
    """Rights that are cleared between login and connection.open."""
    c = start(s, s.user())
    c.expect("connection.tune")
    s.ctl("clear_permissions", s.name("u"))
    c.send("connection.tune-ok", channel_max=2047, frame_max=131072, heartbeat=0)
    c.send("connection.open", virtual_host="/")
    c.expect_close()


@scenario
def tags_changed_before_open(s):
    """Tags that change between login and connection.open."""
    c = start(s, s.user())
    c.expect("connection.tune")
    s.ctl("set_user_tags", s.name("u"), "impersonator")
    c.send("connection.tune-ok", channel_max=2047, frame_max=131072, heartbeat=0)
    c.send("connection.open", virtual_host="/")
    c.expect("connection.open-ok")
    publish_as(s, c.channel(), "guest")


@scenario
def deleted_while_open(s):
    """A user that is deleted loses its connections."""
    c = s.login(s.user())
    ch = c.channel()
    ch.queue(s.name("q"))
    s.ctl("delete_user", s.name("u"))
    c.expect_close()


@scenario
def deleted_while_consuming(s):
    """What it held unacked goes back, and its exclusive queues go."""
    owner, ch = s.channel(), s.login(s.user()).channel()
    owner.queue(s.name("q"))
    ch.queue(s.name("own"), exclusive=True)
    ch.consume(s.name("q"), "a")
    owner.publish("", s.name("q"), "1")
    ch.deliveries(1)
    s.ctl("delete_user", s.name("u"))
    ch.connection.expect_close()
    owner.get_when_there(s.name("q"))
    owner.counts(s.name("own"))


@scenario
def without_tags(s):
    """A user without tags may use all of AMQP."""
    s.login(s.user()).channel().queue(s.name("q"))


@scenario
def without_rights(s):
    """A user without rights in a vhost does not open it."""
    c = start(s, s.user(configure=None))
    open_vhost(c)
    c.expect_close()


@scenario
def with_empty_rights(s):
    """Rights that match nothing open it."""
    c = start(s, s.user("u", "", "", ""))
    open_vhost(c)
    c.expect("connection.open-ok")


@scenario
def administrator_without_rights(s):
    """An administrator needs rights as any other."""
    c = start(s, s.user(configure=None, tags=("administrator",)))
    open_vhost(c)
    c.expect_close()


@scenario
def name_heeds_case(s):
    """Names of users heed case."""
    s.user("user")
    refused(s, s.name("User"))


@scenario
def password_heeds_case(s):
    """So do passwords."""
    refused(s, s.user(), PASSWORD.upper())


@scenario
def password_longer(s):
    """All of a password counts."""
    refused(s, s.user(), PASSWORD + "x")


@scenario
def update_secret_after_deletion_of_rights(s):
    """update-secret with the right password of a user without rights."""
    c = s.login(s.user())
    s.ctl("clear_permissions", s.name("u"))
    c.send("connection.update-secret", new_secret=PASSWORD, reason="parity")
    c.wait(0, lambda e: True, "an answer")


# -- limits


def limited(s, user, **limits):
    """Sets limits of a user."""
    s.ctl("set_user_limits", user, limits_json(limits))


@scenario
def max_connections_0(s):
    """No connection is allowed."""
    limited(s, s.user(), max_connections=0)
    c = start(s, s.name("u"))
    open_vhost(c)
    c.expect_close()


@scenario
def max_connections_1(s):
    """The second is refused, and taken once the first is gone."""
    limited(s, s.user(), max_connections=1)
    first = opens(s, s.name("u"))
    second = start(s, s.name("u"))
    open_vhost(second)
    second.expect_close()
    first.close()


@scenario
def max_connections_free_again(s):
    """A connection that closed counts no more."""
    limited(s, s.user(), max_connections=1)
    opens(s, s.name("u")).close()
    opens(s, s.name("u")).close()


@scenario
def max_connections_of_others(s):
    """Another user's connections do not count."""
    limited(s, s.user(), max_connections=1)
    s.login(s.user("v"))
    opens(s, s.name("u"))


@scenario
def max_connections_lowered(s):
    """A limit below what is there closes nothing, and refuses further ones."""
    u = s.user()
    ch = s.login(u).channel()
    s.login(u)
    limited(s, u, max_connections=1)
    ch.queue(s.name("q"))
    c = start(s, u)
    open_vhost(c)
    c.expect_close()


@scenario
def max_connections_negative(s):
    """-1 is no limit."""
    limited(s, s.user(), max_connections=-1)
    opens(s, s.name("u"))


@scenario
def max_connections_cleared(s):
    """A cleared limit is none."""
    limited(s, s.user(), max_connections=0)
    s.ctl("clear_user_limits", s.name("u"), "max-connections")
    opens(s, s.name("u"))


@scenario
def max_channels_2(s):
    """The third channel is refused, over all connections of the user."""
    limited(s, s.user(), max_channels=2)
    first, second = s.login(s.name("u")), s.login(s.name("u"))
    first.channel()
    second.channel()
    second.send("channel.open", channel=2)
    second.expect_close()
    first.send("channel.open", channel=2)
    first.wait(2, lambda e: True, "an answer")


@scenario
def max_channels_0(s):
    """No channel is allowed."""
    limited(s, s.user(), max_channels=0)
    c = s.login(s.name("u"))
    c.send("channel.open", channel=1)
    c.expect_close()


@scenario
def max_channels_free_again(s):
    """A closed channel counts no more."""
    limited(s, s.user(), max_channels=1)
    c = s.login(s.name("u"))
    c.channel().close()
    c.channel().barrier()


@scenario
@slow
def refused_without_capability(s):
    """Without authentication_failure_close a refused user waits three seconds for the reset."""
    c = begin(s, response=f"\0{s.user()}\0no", capabilities=())
    with s.takes(3, 0.6):
        c.expect_close()
