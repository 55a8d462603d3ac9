//! Users, logins and rights on a store in memory, over restarts.

use std::net::IpAddr;
use std::time::Duration;

use std::sync::Arc;

use super::*;
use crate::auth::{Backends, Credentials};
use crate::broker::password::NewPasswords;
use crate::broker::permissions::Permission;
use crate::clock;
use crate::store::{Committer, Limits, MemoryStore, Store};

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

fn start(store: &Arc<MemoryStore>) -> Arc<Committer> {
    let store: Arc<dyn Store> = store.clone();
    Committer::start(store, Limits::default()).unwrap()
}

fn open(store: &Arc<MemoryStore>) -> Users {
    Users::open(
        start(store),
        Arc::default(),
        vec!["guest".into()],
        NewPasswords::Argon2id,
        Backends::default(),
    )
    .unwrap()
}

#[tokio::test]
async fn logins_are_verified_and_remembered_until_the_password_changes() {
    let users = open(&Arc::new(MemoryStore::new()));
    users
        .add("guest", b"pw", vec![TAG_ADMINISTRATOR.into()])
        .await
        .unwrap();
    assert!(
        users
            .login(
                LoginDoor::Amqp,
                "guest",
                Credentials::Password(b"pw"),
                LOCAL
            )
            .await
            .unwrap()
            .has_tag("administrator")
    );
    let again = std::time::Instant::now();
    assert!(
        users
            .login(
                LoginDoor::Amqp,
                "guest",
                Credentials::Password(b"pw"),
                LOCAL
            )
            .await
            .is_ok()
    );
    assert!(again.elapsed() < Duration::from_millis(5), "no second hash");
    let refused = Err(LoginError::InvalidCredentials("guest".into()));
    assert_eq!(
        users
            .login(
                LoginDoor::Amqp,
                "guest",
                Credentials::Password(b"PW"),
                LOCAL
            )
            .await
            .map(drop),
        refused
    );
    assert_eq!(
        users
            .login(LoginDoor::Amqp, "guest", Credentials::Password(b"pw"), FAR)
            .await
            .map(drop),
        Err(LoginError::LoopbackOnly("guest".into()))
    );
    assert!(
        users
            .login(
                LoginDoor::Amqp,
                "guest",
                Credentials::Password(b"pw"),
                "::ffff:127.0.0.1".parse().unwrap()
            )
            .await
            .is_ok()
    );
    assert_eq!(
        users
            .login(LoginDoor::Amqp, "guest", Credentials::Password(b""), LOCAL)
            .await
            .map(drop),
        Err(LoginError::BlankPassword("guest".into()))
    );
    users.change_password("guest", b"new").await.unwrap();
    assert_eq!(
        users
            .login(
                LoginDoor::Amqp,
                "guest",
                Credentials::Password(b"pw"),
                LOCAL
            )
            .await
            .map(drop),
        refused
    );
    assert!(
        users
            .login(
                LoginDoor::Amqp,
                "guest",
                Credentials::Password(b"new"),
                LOCAL
            )
            .await
            .is_ok()
    );
    users.set_password("guest", None).await.unwrap();
    assert_eq!(
        users
            .login(
                LoginDoor::Amqp,
                "guest",
                Credentials::Password(b"new"),
                LOCAL
            )
            .await
            .map(drop),
        refused
    );
    users.delete("guest").await.unwrap();
    users.add("guest", b"other", vec![]).await.unwrap();
    assert_eq!(
        users
            .login(
                LoginDoor::Amqp,
                "guest",
                Credentials::Password(b"new"),
                LOCAL
            )
            .await
            .map(drop),
        refused
    );
}

#[tokio::test]
async fn of_many_equal_logins_one_hashes() {
    let users = Arc::new(open(&Arc::new(MemoryStore::new())));
    users.add("u", b"pw", vec![]).await.unwrap();
    let began = clock::monotonic();
    users
        .login(LoginDoor::Amqp, "u", Credentials::Password(b"pw"), FAR)
        .await
        .unwrap();
    let one = began.elapsed();
    users.change_password("u", b"new").await.unwrap();
    let mut logins = tokio::task::JoinSet::new();
    let began = clock::monotonic();
    // More than there are places for different logins.
    for _ in 0..2000 {
        let users = users.clone();
        logins.spawn(async move {
            users
                .login(LoginDoor::Amqp, "u", Credentials::Password(b"new"), FAR)
                .await
                .is_ok()
        });
    }
    assert!(logins.join_all().await.into_iter().all(|right| right));
    let all = began.elapsed();
    assert!(all < one * 20, "{all:?} for two thousand, {one:?} for one");
}

#[tokio::test]
async fn each_of_many_equal_guesses_counts() {
    let users = Arc::new(open(&Arc::new(MemoryStore::new())));
    users.add("u", b"pw", vec![]).await.unwrap();
    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let users = users.clone();
        guesses.spawn(async move {
            let guess = Credentials::Password(b"guess");
            users.login(LoginDoor::Amqp, "u", guess, FAR).await.is_err()
        });
    }
    assert!(guesses.join_all().await.into_iter().all(|refused| refused));
    let slowed = users.amqp_gate.wait(None, "u", Some(b"guess"), FAR);
    // Five failures are free; then 100, 200 and 400 ms.
    assert_eq!(slowed, Duration::from_millis(800));
    assert_eq!(users.login_attempts(LoginDoor::Amqp).failed, 8);
}

/// Refused logins do not show which users exist: results for unknown users are cached, too.
#[tokio::test]
async fn unknown_users_are_refused_as_known_ones_are() {
    let users = open(&Arc::new(MemoryStore::new()));
    users.add("guest", b"pw", vec![]).await.unwrap();
    users.add_hashed("keyless", None, vec![]).await.unwrap();
    for name in ["guest", "keyless", "nobody"] {
        let refused = Err(LoginError::InvalidCredentials(name.into()));
        // From a remote address, too: the address is checked last.
        assert_eq!(
            users
                .login(LoginDoor::Amqp, name, Credentials::Password(b"guess"), FAR)
                .await
                .map(drop),
            refused
        );
        let known = users.amqp_gate.logins().digest(name, b"guess");
        let revision = users.get(name).map_or(u64::MAX, |user| user.revision);
        let recalled = users
            .amqp_gate
            .logins()
            .recall(known, revision, clock::monotonic());
        assert_eq!(recalled, Some(false), "{name} was hashed");
    }
    // Failed logins do not lock out a user that is added later.
    users.add("nobody", b"guess", vec![]).await.unwrap();
    assert!(
        users
            .login(
                LoginDoor::Amqp,
                "nobody",
                Credentials::Password(b"guess"),
                FAR
            )
            .await
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_hold_up_no_other_user() {
    let users = Arc::new(open(&Arc::new(MemoryStore::new())));
    users.add("ann", b"pw", vec![]).await.unwrap();
    users.add("bob", b"pw", vec![]).await.unwrap();
    let mut guessers = tokio::task::JoinSet::new();
    for n in 0..60_u8 {
        let users = users.clone();
        guessers.spawn(async move {
            users
                .login(LoginDoor::Amqp, "ann", Credentials::Password(&[n, 1]), FAR)
                .await
                .map(drop)
        });
    }
    assert!(guessers.join_next().await.unwrap().unwrap().is_err());
    users
        .login(LoginDoor::Amqp, "bob", Credentials::Password(b"pw"), FAR)
        .await
        .unwrap();
    let mut done = 1;
    while guessers.try_join_next().is_some() {
        done += 1;
    }
    assert!(done < 15, "{done} of 60 went before");
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let store = Arc::new(MemoryStore::new());
    {
        let committer = start(&store);
        let users = Users::open(
            Arc::clone(&committer),
            Arc::default(),
            Vec::new(),
            NewPasswords::Argon2id,
            Backends::default(),
        )
        .unwrap();
        users
            .add("ann", b"pw", vec!["monitoring".into()])
            .await
            .unwrap();
        users.add("bob", b"pw", vec![]).await.unwrap();
        users
            .set_limits("ann", |limits| limits.max_channels = Some(3))
            .await
            .unwrap();
        for user in ["ann", "bob"] {
            users
                .set_permissions(user, "/", ["^a", "", ".*"])
                .await
                .unwrap();
            users
                .set_permissions(user, "v", [".*", ".*", ".*"])
                .await
                .unwrap();
            users
                .set_topic_permissions(user, "/", "t", ["^w", "^r"])
                .await
                .unwrap();
        }
        users.delete("bob").await.unwrap();
        let forget = users.propose_forget_vhost("v").await;
        forget.commit(&committer).await.unwrap();
    }
    let users = open(&store);
    let ann = users
        .login(LoginDoor::Amqp, "ann", Credentials::Password(b"pw"), FAR)
        .await
        .unwrap();
    assert_eq!(&*ann.tags, ["monitoring".into()]);
    assert_eq!(users.limits("ann").max_channels, Some(3));
    assert!(users.get("bob").is_none());
    assert!(
        users.may_enter("ann", "/") && !users.may_enter("ann", "v") && !users.may_enter("bob", "/")
    );
    assert!(users.allows("ann", "/", Permission::Configure, "a"));
    assert!(!users.allows("ann", "/", Permission::Write, "a"));
    assert!(
        users
            .check_topic(&"ann".into(), &"/".into(), "t", Permission::Write, "r")
            .is_err()
    );
    assert!(
        users
            .check_topic(&"bob".into(), &"/".into(), "t", Permission::Write, "r")
            .is_ok()
    );
}

#[tokio::test]
async fn refusals_change_nothing() {
    let users = open(&Arc::new(MemoryStore::new()));
    users.add("ann", b"pw", vec![]).await.unwrap();
    let epoch = users.permission_epoch();
    assert_eq!(
        users.add("ann", b"x", vec![]).await,
        Err(UserError::AlreadyExists("ann".into()))
    );
    let unknown = Err(UserError::NoSuchUser("bob".into()));
    assert_eq!(users.change_password("bob", b"x").await, unknown);
    assert_eq!(users.set_tags("bob", vec![]).await, unknown);
    assert_eq!(
        users.set_permissions("bob", "/", ["", "", ""]).await,
        unknown
    );
    assert!(matches!(
        users.set_permissions("ann", "/", ["*", "", ""]).await,
        Err(UserError::InvalidPattern(pattern)) if pattern.pattern == "*"
    ));
    assert_eq!(users.delete("bob").await, Ok(false));
    assert!(!users.may_enter("ann", "/"));
    users
        .set_permissions("ann", "/", ["", "", ""])
        .await
        .unwrap();
    assert!(users.permission_epoch() > epoch);
}
