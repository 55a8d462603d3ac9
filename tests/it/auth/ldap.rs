//! Users of a directory, by OpenLDAP's server. Where it is missing, these tests say so and pass.

use leveret::auth::ldap::{
    Bind, DnLookup, Encryption, Ldap, LdapSettings, Query, parse_tag_queries,
};
use leveret::auth::{Credentials, Login, Permission, Question, Refused, ResourceKind, Verdict};
use leveret::wire::AMQPClass;
use leveret::wire::protocol::connection;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::forwarder::Forwarder;
use super::slapd::Slapd;
use crate::support::reply_code::ACCESS_REFUSED;
use crate::support::{Client, Peer, TestServer, eventually};

const PEOPLE: &str = "ou=people,dc=example,dc=com";

fn settings(slapd: &Slapd) -> LdapSettings {
    settings_for(slapd.port)
}

fn settings_for(port: u16) -> LdapSettings {
    LdapSettings {
        servers: vec!["localhost".to_owned()],
        port,
        encryption: Encryption::None,
        ca: None,
        timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(60),
        pool_size: 2,
        user_dn_pattern: format!("uid=${{username}},{PEOPLE}"),
        user_bind_pattern: None,
        dn_lookup: None,
        other_bind: Bind::AsUser,
        group_lookup_base: Some("ou=groups,dc=example,dc=com".to_owned()),
        vhost_access: query(r#"{in_group, "cn=${vhost}-users,ou=groups,dc=example,dc=com"}"#),
        resource_access: query(
            r#"{for, [{permission, configure, {equals, "${name}", {attribute, "${user_dn}", "mail"}}},
                      {permission, write, {match, "${name}", {attribute, "${user_dn}", "description"}}},
                      {permission, read, {'not', {constant, false}}}]}"#,
        ),
        topic_access: query(r#"{match, "${routing_key}", "^${username}\\."}"#),
        tags: parse_tag_queries(
            r#"[{administrator, {in_group_nested, "cn=administrators,ou=groups,dc=example,dc=com"}},
                {management, {constant, true}},
                {monitoring, {in_group, "cn=administrators,ou=groups,dc=example,dc=com"}},
                {broken, {exists, "cn=missing,dc=example,dc=com"}}]"#,
        )
        .unwrap(),
    }
}

fn query(text: &str) -> Query {
    Query::parse(text).unwrap()
}

fn reader() -> Bind {
    Bind::Dn {
        dn: "cn=reader,dc=example,dc=com".to_owned(),
        password: "readers password".to_owned(),
    }
}

fn login<'a>(name: &'a str, password: &'a str) -> Login<'a> {
    Login {
        name,
        credentials: Credentials::Password(password.as_bytes()),
    }
}

/// The tags of a user who may log in, or `None`.
async fn tags(ldap: &Ldap, name: &str, password: &str) -> Option<Vec<String>> {
    match ldap.authenticate(login(name, password)).await {
        Ok((_, tags)) => Some(tags.iter().map(ToString::to_string).collect()),
        Err(Refused::Denied(_)) => None,
        Err(Refused::Failed(why)) => panic!("the directory fails: {why}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_bind_and_queries_decide_about_tags_and_permissions() {
    let Some(slapd) = Slapd::start().await else {
        return;
    };
    for (dn_lookup, other_bind) in [
        (None, Bind::AsUser),
        (None, reader()),
        (Some(Bind::AsUser), Bind::AsUser),
        (Some(reader()), reader()),
    ] {
        let mut settings = settings(&slapd);
        settings.other_bind = other_bind;
        if let Some(bind) = dn_lookup {
            settings.user_bind_pattern = Some(settings.user_dn_pattern);
            settings.user_dn_pattern = "${username}".to_owned();
            settings.dn_lookup = Some(DnLookup {
                attribute: "uid".to_owned(),
                base: PEOPLE.to_owned(),
                bind,
            });
        }
        let label = format!("{:?} {:?}", settings.dn_lookup, settings.other_bind);
        let ldap = Ldap::new(settings).unwrap();
        let some = |tags: &[&str]| Some(tags.iter().map(|tag| (*tag).to_owned()).collect());
        for (name, password, expected) in [
            (
                "alice",
                "alice's password",
                some(&["administrator", "management"]),
            ),
            ("bob", "bob's password", some(&["management"])),
            ("alice", "bob's password", None),
            ("alice", "", None),
            ("carol", "carol's password", None),
            ("alice,ou=people", "alice's password", None),
            ("*", "alice's password", None),
            ("", "alice's password", None),
        ] {
            assert_eq!(
                tags(&ldap, name, password).await,
                expected,
                "{label}: {name}"
            );
        }
        let (alice, _) = ldap
            .authenticate(login("alice", "alice's password"))
            .await
            .unwrap();
        for (question, expected) in questions() {
            let verdict = ldap.allows("alice", &alice, &question).await;
            assert_eq!(verdict, expected, "{label}: {question:?}");
        }
    }
}

fn questions() -> [(Question, Verdict); 8] {
    let vhost = |vhost: &str| Question::Vhost {
        vhost: vhost.into(),
        peer: None,
    };
    let queue = |permission, name: &str| Question::Resource {
        vhost: "v".into(),
        kind: ResourceKind::Queue,
        name: name.into(),
        permission,
    };
    let topic = |routing_key: &str| Question::Topic {
        vhost: "v".into(),
        exchange: "amq.topic".into(),
        permission: Permission::Write,
        routing_key: routing_key.into(),
    };
    [
        (vhost("v"), Verdict::Allowed),
        // There is no such group, which is no answer.
        (vhost("w"), Verdict::Denied),
        (
            queue(Permission::Configure, "alice@example.com"),
            Verdict::Allowed,
        ),
        (
            queue(Permission::Configure, "bob@example.com"),
            Verdict::Denied,
        ),
        (queue(Permission::Write, "alice-q"), Verdict::Allowed),
        (queue(Permission::Write, "bob-q"), Verdict::Denied),
        (topic("alice.a"), Verdict::Allowed),
        (topic("bob.a"), Verdict::Denied),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blank_name_or_password_proves_nothing() {
    let Some(slapd) = Slapd::start().await else {
        return;
    };
    let mut settings = settings(&slapd);
    settings.user_dn_pattern = "${username}".to_owned();
    let ldap = Ldap::new(settings).unwrap();
    let alice = format!("uid=alice,{PEOPLE}");
    assert!(tags(&ldap, "", "alice's password").await.is_none());
    assert!(tags(&ldap, "", "").await.is_none());
    assert!(tags(&ldap, &alice, "").await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_encrypted_and_the_server_is_verified() {
    let Some(slapd) = Slapd::start().await else {
        return;
    };
    for (encryption, port) in [
        (Encryption::StartTls, slapd.port),
        (Encryption::Tls, slapd.tls_port),
    ] {
        let trusting = LdapSettings {
            encryption,
            port,
            ca: Some(slapd.ca.clone()),
            ..settings(&slapd)
        };
        let ldap = Ldap::new(trusting.clone()).unwrap();
        assert!(tags(&ldap, "bob", "bob's password").await.is_some());
        let of_the_system = LdapSettings {
            ca: None,
            ..trusting.clone()
        };
        // The certificate is for localhost.
        let other_name = LdapSettings {
            servers: vec!["127.0.0.1".to_owned()],
            ..trusting
        };
        for settings in [of_the_system, other_name] {
            let ldap = Ldap::new(settings).unwrap();
            let refused = ldap.authenticate(login("bob", "bob's password")).await;
            assert!(matches!(refused, Err(Refused::Failed(_))), "{refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_a_failure_and_its_connections_are_made_anew() {
    let Some(mut slapd) = Slapd::start().await else {
        return;
    };
    let mut settings = settings(&slapd);
    // The first server is missing, and the next one is tried.
    settings.servers.insert(0, "127.0.0.9".to_owned());
    let ldap = Ldap::new(settings).unwrap();
    for _ in 0..3 {
        assert!(tags(&ldap, "bob", "bob's password").await.is_some());
        slapd.restart().await;
    }
    let (bob, _) = ldap
        .authenticate(login("bob", "bob's password"))
        .await
        .unwrap();
    slapd.stop();
    let refused = ldap.authenticate(login("bob", "bob's password")).await;
    assert!(matches!(refused, Err(Refused::Failed(_))), "{refused:?}");
    let (question, _) = &questions()[0];
    let verdict = ldap.allows("bob", &bob, question).await;
    assert!(matches!(verdict, Verdict::Failed { .. }), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_nothing_fails_the_login_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = LdapSettings {
        servers: vec!["127.0.0.1".to_owned()],
        port: silent.local_addr().unwrap().port(),
        timeout: Duration::from_millis(200),
        ..settings_for(0)
    };
    let ldap = Ldap::new(settings).unwrap();
    let refused = ldap.authenticate(login("bob", "bob's password")).await;
    let why = "no answer within 200 ms".into();
    assert_eq!(refused.map(|_| ()), Err(Refused::Failed(why)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_share_a_limited_number_of_connections_which_close_when_they_are_idle() {
    let Some(slapd) = Slapd::start().await else {
        return;
    };
    let forwarder = Forwarder::start(slapd.port).await;
    let settings = LdapSettings {
        servers: vec!["127.0.0.1".to_owned()],
        idle_timeout: Duration::from_secs(1),
        ..settings_for(forwarder.port)
    };
    let ldap = Arc::new(Ldap::new(settings).unwrap());
    let mut logins = JoinSet::new();
    for _ in 0..20 {
        let ldap = Arc::clone(&ldap);
        logins.spawn(async move { tags(&ldap, "bob", "bob's password").await.is_some() });
    }
    assert_eq!(logins.join_all().await, [true; 20]);
    let (open, most, total) = forwarder.connections();
    assert!((1..=2).contains(&open) && most <= 2, "{open} of {most}");
    assert!(total <= 2, "{total} connections for 20 logins");
    eventually("idle connections are closed", || {
        forwarder.connections().0 == 0
    })
    .await;
    assert!(tags(&ldap, "bob", "bob's password").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_the_directory_log_in_to_the_broker() {
    let Some(slapd) = Slapd::start().await else {
        return;
    };
    let port = slapd.port.to_string();
    let server = TestServer::start_with_logins(&[
        ("auth-backends", "ldap"),
        ("ldap-servers", "localhost"),
        ("ldap-port", &port),
        (
            "ldap-user-dn-pattern",
            "uid=${username},ou=people,dc=example,dc=com",
        ),
        (
            "ldap-resource-access-query",
            r#"{for, [{permission, configure, {match, "${name}", "^${username}-"}},
                      {permission, write, {constant, true}},
                      {permission, read, {constant, true}}]}"#,
        ),
        (
            "ldap-tag-queries",
            r#"[{management, {in_group, "cn=v-users,ou=groups,dc=example,dc=com"}}]"#,
        ),
    ])
    .await;
    let mut peer = Peer::log_in(
        server.address,
        Client::default(),
        "alice",
        "alice's password",
    )
    .await;
    peer.method().await;
    let opened = peer.open_vhost("/").await;
    let is_open = matches!(
        opened,
        AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
    );
    assert!(is_open, "{opened:?}");
    peer.open(1).await;
    peer.declare(1, "alice-q").await;
    peer.publish(1, "alice-q", b"m").await;
    peer.expect_nothing(1).await;
    assert_eq!(server.numbers("alice-q").0, 1);
    let declare =
        leveret::wire::protocol::queue::AMQPMethod::Declare(crate::support::declare("bob-q"));
    peer.send(1, AMQPClass::Queue(declare)).await;
    let text =
        "ACCESS_REFUSED - configure access to queue 'bob-q' in vhost '/' refused for user 'alice'";
    assert_eq!(peer.closed().await, (ACCESS_REFUSED, text.to_owned()));
    let mut client = crate::management::client::Client::of(&server, "bob", "bob's password");
    assert_eq!(
        client.json("/api/whoami").await["tags"],
        serde_json::json!(["management"])
    );
    let mut guest = crate::management::client::Client::guest(&server);
    assert_eq!(guest.get("/api/whoami").await.status, 401);
}
