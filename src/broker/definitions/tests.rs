//! All kinds of definitions through the door: what a start finds is what memory had, and a commit that fails changes
//! nothing in memory.

use std::sync::Arc;

use proptest::prelude::*;

use crate::broker::broker::{Broker, BrokerConfig};
use crate::broker::exchange::{Binding, Destination, Exchange, ExchangeKind};
use crate::broker::limits::VhostLimits;
use crate::broker::secrets::Secret;
use crate::broker::vhost::{NewQueue, Vhost, VhostMetadata};
use crate::model::policy::{PolicyDraft, PolicyKind};
use crate::model::{Name, QueueOverrides};
use crate::store::faulty::{Call, Fault, FaultyStore, What, When};
use crate::store::{Committer, Limits, MemoryStore, Store};
use crate::wire::FieldTable;

/// Changes by clients and operators. Users, virtual hosts, exchanges and queues go by number.
#[derive(Clone, Debug)]
enum Command {
    AddUser(u8),
    DeleteUser(u8),
    SetTags(u8),
    SetUserLimits(u8, i64),
    SetPermission(u8, u8),
    ClearPermission(u8, u8),
    SetTopicPermission(u8, u8),
    ClearTopicPermissions(u8, u8),
    AddSecret(u8, u8),
    DeleteSecret(u8, u8),
    SetVhostLimits(u8, i64),
    ClearVhostLimits(u8),
    AddVhost(u8),
    UpdateVhost(u8, u8),
    DeleteVhost(u8),
    DeclareExchange(u8, u8),
    DeleteExchange(u8, u8),
    DeclareQueue(u8, u8),
    SetOverrides(u8, u8, u64),
    SetPolicy(u8, u8, u64),
    SetOperatorPolicy(u8, u8, u64),
    ClearPolicy(u8, u8),
    ClearOperatorPolicy(u8, u8),
    DeleteQueue(u8, u8),
    Bind(u8, u8, u8),
    Unbind(u8, u8, u8),
}

fn vhost_name(n: u8) -> Name {
    if n == 0 {
        "/".into()
    } else {
        format!("v{n}").into()
    }
}

fn user_name(n: u8) -> Name {
    format!("u{n}").into()
}

fn exchange_name(n: u8) -> Name {
    format!("x{n}").into()
}

fn queue_name(n: u8) -> Name {
    format!("q{n}").into()
}

fn policy_name(n: u8) -> Name {
    format!("p{n}").into()
}

/// A policy for queues up to the one of its number.
fn policy(n: u8, most: u64) -> PolicyDraft {
    PolicyDraft {
        name: policy_name(n),
        pattern: format!("q[0-{n}]").into(),
        apply_to: None,
        definition: serde_json::json!({ "max-length": most }),
        priority: Some(most.into()),
    }
}

/// Exchange 0 is transient, exchange 1 deletes itself.
fn exchange(n: u8) -> Exchange {
    Exchange {
        name: exchange_name(n),
        kind: ExchangeKind::Topic,
        durable: n != 0,
        auto_delete: n == 1,
        internal: false,
        arguments: FieldTable::default(),
        stats: Arc::default(),
    }
}

/// Queue 0 is transient.
fn queue(n: u8) -> NewQueue {
    NewQueue {
        name: queue_name(n),
        durable: n != 0,
        exclusive_owner: None,
        auto_delete: false,
        arguments: FieldTable::default(),
    }
}

fn binding(x: u8, q: u8) -> Binding {
    let to = Destination::Queue(queue_name(q));
    Binding::new(exchange_name(x), to, "a.*".into(), FieldTable::default())
}

fn metadata(n: u8) -> VhostMetadata {
    VhostMetadata {
        description: n.to_string(),
        ..VhostMetadata::default()
    }
}

/// Carries a command out. Refusals are as good as any answer; false if the store has failed.
async fn carry_out(broker: &Broker, command: Command) -> bool {
    let users = broker.users();
    let outcome = match command {
        Command::AddUser(u) => text(users.add_hashed(&user_name(u), None, Vec::new()).await),
        Command::DeleteUser(u) => text(users.delete(&user_name(u)).await),
        Command::SetTags(u) => text(users.set_tags(&user_name(u), vec!["tag".into()]).await),
        Command::SetUserLimits(u, most) => {
            let name = user_name(u);
            let set = users.set_limits(&name, |limits| limits.max_channels = Some(most));
            text(set.await)
        }
        Command::SetPermission(u, v) => {
            let patterns = ["^c", "^w", ".*"];
            text(
                users
                    .set_permissions(&user_name(u), &vhost_name(v), patterns)
                    .await,
            )
        }
        Command::ClearPermission(u, v) => {
            text(users.clear_permissions(&user_name(u), &vhost_name(v)).await)
        }
        Command::SetTopicPermission(u, v) => {
            let (user, vhost) = (user_name(u), vhost_name(v));
            let set = users.set_topic_permissions(&user, &vhost, "t", ["^{username}", ""]);
            text(set.await)
        }
        Command::ClearTopicPermissions(u, v) => {
            let (user, vhost) = (user_name(u), vhost_name(v));
            text(users.clear_topic_permissions(&user, &vhost, None).await)
        }
        Command::AddSecret(u, v) => {
            let id = format!("AKID{u}{v}");
            let secret = Secret::new(&user_name(u), &vhost_name(v), Some((&id, "key")));
            text(users.add_secret(secret).await)
        }
        Command::DeleteSecret(u, v) => text(users.delete_secret(&format!("AKID{u}{v}")).await),
        Command::SetVhostLimits(v, most) => {
            let limits = VhostLimits {
                max_connections: Some(most),
                max_queues: None,
            };
            text(broker.limits().set(&vhost_name(v), limits).await)
        }
        Command::ClearVhostLimits(v) => text(broker.limits().clear(&vhost_name(v)).await),
        Command::AddVhost(v) => text(broker.add_vhost(&vhost_name(v), metadata(0)).await),
        Command::UpdateVhost(v, n) => text(broker.update_vhost(&vhost_name(v), metadata(n)).await),
        Command::DeleteVhost(v) => text(broker.delete_vhost(&vhost_name(v)).await),
        Command::DeclareExchange(v, _)
        | Command::DeleteExchange(v, _)
        | Command::DeclareQueue(v, _)
        | Command::SetOverrides(v, ..)
        | Command::SetPolicy(v, ..)
        | Command::SetOperatorPolicy(v, ..)
        | Command::ClearPolicy(v, _)
        | Command::ClearOperatorPolicy(v, _)
        | Command::DeleteQueue(v, _)
        | Command::Bind(v, ..)
        | Command::Unbind(v, ..) => match broker.vhost(&vhost_name(v)) {
            Some(vhost) => carry_out_in(&vhost, command).await,
            None => String::new(),
        },
    };
    !outcome.contains("StoreFailed")
}

async fn carry_out_in(vhost: &Vhost, command: Command) -> String {
    match command {
        Command::DeclareExchange(_, x) => text(vhost.create_exchange(exchange(x)).await),
        Command::DeleteExchange(_, x) => {
            text(vhost.delete_exchange(&exchange_name(x), false).await)
        }
        Command::DeclareQueue(_, q) => text(vhost.create_queue(queue(q)).await),
        Command::SetOverrides(_, q, most) => {
            let overrides = QueueOverrides {
                max_length: Some(most),
                ..QueueOverrides::default()
            };
            text(vhost.set_queue_overrides(&queue_name(q), overrides).await)
        }
        Command::SetPolicy(_, p, most) => {
            text(vhost.set_policy(PolicyKind::User, policy(p, most)).await)
        }
        Command::SetOperatorPolicy(_, p, most) => {
            let set = vhost.set_policy(PolicyKind::Operator, policy(p, most));
            text(set.await)
        }
        Command::ClearPolicy(_, p) => {
            let name = policy_name(p);
            text(vhost.clear_policy(PolicyKind::User, &name).await)
        }
        Command::ClearOperatorPolicy(_, p) => {
            let name = policy_name(p);
            text(vhost.clear_policy(PolicyKind::Operator, &name).await)
        }
        Command::DeleteQueue(_, q) => match vhost.queue(&queue_name(q)) {
            Some(queue) => text(vhost.delete_queue(&queue, |_| true).await),
            None => String::new(),
        },
        Command::Bind(_, x, q) => text(vhost.bind(binding(x, q), |_| Ok(())).await),
        Command::Unbind(_, x, q) => text(vhost.unbind(&binding(x, q), |_| Ok(())).await),
        _ => unreachable!("not of a virtual host"),
    }
}

fn text<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, E>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |_| String::new())
}

/// All definitions in memory as text, one per line; with `durable_only` without transient ones.
fn definitions(broker: &Broker, durable_only: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for user in broker.users().list() {
        lines.push(format!("{} {:?} {:?}", user.name, user.tags, user.limits));
    }
    for secret in broker.users().secrets() {
        lines.push(format!("{secret:?}"));
    }
    broker.users().with_permissions(|table| {
        lines.extend(table.grants().map(|grant| format!("{grant:?}")));
        lines.extend(table.topics().map(|topic| format!("{topic:?}")));
    });
    lines.extend(broker.limits().list().iter().map(|of| format!("{of:?}")));
    for vhost in broker.vhost_list() {
        lines.push(format!("{} {:?}", vhost.name(), vhost.metadata()));
        for kind in [PolicyKind::User, PolicyKind::Operator] {
            let policies = vhost.policies(kind);
            lines.extend(policies.iter().map(|policy| format!("{kind:?} {policy:?}")));
        }
        let exchanges = vhost.exchanges();
        let stays = |is_durable| is_durable || !durable_only;
        let exchanges = exchanges.iter().filter(|exchange| stays(exchange.durable));
        lines.extend(exchanges.map(|exchange| format!("{exchange:?}")));
        for queue in vhost.queues() {
            let spec = queue.spec();
            if stays(spec.durable) {
                lines.push(format!(
                    "{spec:?} {:?} {:?}",
                    queue.overrides(),
                    queue.effective()
                ));
            }
        }
        let mut bindings = vhost.bindings();
        bindings.retain(|binding| !binding.source.is_empty() && stays(binding.durable));
        lines.extend(bindings.iter().map(|binding| format!("{binding:?}")));
    }
    lines
}

async fn open(store: Arc<dyn Store>) -> Arc<Broker> {
    let committer = Committer::start(store, Limits::default()).unwrap();
    let config = BrokerConfig::default();
    Broker::open(committer, config).await.unwrap()
}

/// A user, a virtual host, and in `/` exchanges and queues with bindings.
fn prepared() -> Vec<Command> {
    vec![
        Command::AddUser(1),
        Command::AddVhost(1),
        Command::SetPermission(1, 1),
        Command::SetTopicPermission(1, 1),
        Command::AddSecret(1, 1),
        Command::SetVhostLimits(1, 5),
        Command::DeclareExchange(0, 1),
        Command::DeclareExchange(0, 2),
        Command::DeclareQueue(0, 0),
        Command::DeclareQueue(0, 1),
        Command::DeclareQueue(0, 3),
        Command::DeclareQueue(1, 1),
        Command::Bind(0, 1, 1),
        Command::Bind(0, 2, 0),
        Command::Bind(0, 2, 1),
        Command::SetPolicy(0, 1, 5),
        Command::SetOperatorPolicy(0, 1, 4),
        Command::SetPolicy(1, 1, 5),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_fails_leaves_memory_as_it_was() {
    for command in [
        Command::AddUser(2),
        Command::DeleteUser(1),
        Command::SetTags(1),
        Command::SetUserLimits(1, 3),
        Command::SetPermission(1, 0),
        Command::ClearPermission(1, 1),
        Command::SetTopicPermission(1, 0),
        Command::ClearTopicPermissions(1, 1),
        Command::AddSecret(1, 0),
        Command::DeleteSecret(1, 1),
        Command::SetVhostLimits(1, 6),
        Command::ClearVhostLimits(1),
        Command::AddVhost(2),
        Command::UpdateVhost(1, 3),
        Command::DeleteVhost(1),
        Command::DeclareExchange(0, 3),
        Command::DeleteExchange(0, 1),
        Command::DeclareQueue(0, 2),
        Command::SetOverrides(0, 1, 7),
        Command::SetPolicy(0, 1, 6),
        Command::SetPolicy(0, 3, 6),
        Command::SetOperatorPolicy(0, 2, 3),
        Command::ClearPolicy(0, 1),
        Command::ClearOperatorPolicy(0, 1),
        Command::DeleteQueue(0, 1),
        Command::Bind(0, 2, 3),
        Command::Unbind(0, 1, 1),
    ] {
        let store = Arc::new(FaultyStore::new(Vec::new()));
        let broker = open(store.clone()).await;
        for command in prepared() {
            assert!(carry_out(&broker, command).await);
        }
        let before = definitions(&broker, false);
        store.add_fault(Fault {
            at: Call::Append(store.appends() + 1),
            when: When::Before,
            what: What::PowerLoss,
        });
        let committer = Arc::clone(broker.committer());
        let under_way = tokio::spawn({
            let (broker, command) = (Arc::clone(&broker), command.clone());
            async move { carry_out(&broker, command).await }
        });
        while !store.power_lost() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        tokio::task::spawn_blocking(move || committer.shutdown())
            .await
            .unwrap();
        assert!(!under_way.await.unwrap(), "{command:?} fails");
        assert_eq!(definitions(&broker, false), before, "{command:?}");
        // A start does not find the change either.
        let after = open(Arc::new(store.after_power_loss(usize::MAX))).await;
        assert_eq!(
            definitions(&after, true),
            definitions(&broker, true),
            "{command:?}"
        );
    }
}

#[tokio::test]
async fn a_change_is_applied_though_its_caller_leaves_during_the_commit() {
    let broker = open(Arc::new(MemoryStore::new())).await;
    let vhost = broker.vhost("/").unwrap();
    {
        // No batch is committed before the caller has left.
        let _one_batch = broker.committer().batch_guard();
        let mut declare = Box::pin(vhost.create_queue(queue(1)));
        let waker = std::task::Waker::noop();
        let first = declare
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        assert!(first.is_pending());
        assert!(vhost.queue("q1").is_none(), "not before it is durable");
    }
    while vhost.queue("q1").is_none() {
        tokio::task::yield_now().await;
    }
}

/// After concurrent declares, binds and deletes of the same names, memory equals the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contradicting_changes_come_one_after_the_other() {
    let store = Arc::new(MemoryStore::new());
    let broker = open(store.clone()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let broker = Arc::clone(&broker);
        tasks.spawn(async move {
            for round in 0..30 {
                let (x, q) = (1 + (task + round) % 2, 1 + round % 2);
                for command in [
                    Command::DeclareExchange(0, x),
                    Command::DeclareQueue(0, q),
                    Command::Bind(0, x, q),
                    Command::Unbind(0, x, q),
                    Command::Bind(0, x, q),
                    Command::DeleteQueue(0, q),
                    Command::DeleteExchange(0, x),
                    Command::DeclareQueue(0, q),
                ] {
                    assert!(carry_out(&broker, command).await);
                }
            }
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.unwrap();
    }
    let before = definitions(&broker, true);
    broker.committer().shutdown();
    assert_eq!(definitions(&*open(store).await, true), before);
}

fn command() -> impl Strategy<Value = Command> {
    let (user, vhost, few) = (1..3_u8, 0..3_u8, 0..4_u8);
    let durable = 1..4_u8;
    prop_oneof![
        1 => user.clone().prop_map(Command::AddUser),
        1 => user.clone().prop_map(Command::DeleteUser),
        1 => user.clone().prop_map(Command::SetTags),
        1 => (user.clone(), 0..9_i64).prop_map(|(u, n)| Command::SetUserLimits(u, n)),
        1 => (user.clone(), vhost.clone()).prop_map(|(u, v)| Command::SetPermission(u, v)),
        1 => (user.clone(), vhost.clone()).prop_map(|(u, v)| Command::ClearPermission(u, v)),
        1 => (user.clone(), vhost.clone()).prop_map(|(u, v)| Command::SetTopicPermission(u, v)),
        1 => (user.clone(), vhost.clone()).prop_map(|(u, v)| Command::ClearTopicPermissions(u, v)),
        1 => (user.clone(), vhost.clone()).prop_map(|(u, v)| Command::AddSecret(u, v)),
        1 => (user, vhost.clone()).prop_map(|(u, v)| Command::DeleteSecret(u, v)),
        1 => (vhost.clone(), 0..9_i64).prop_map(|(v, n)| Command::SetVhostLimits(v, n)),
        1 => vhost.clone().prop_map(Command::ClearVhostLimits),
        1 => (1..3_u8).prop_map(Command::AddVhost),
        1 => (vhost.clone(), 0..9_u8).prop_map(|(v, n)| Command::UpdateVhost(v, n)),
        1 => (1..3_u8).prop_map(Command::DeleteVhost),
        4 => (vhost.clone(), few.clone()).prop_map(|(v, x)| Command::DeclareExchange(v, x)),
        1 => (vhost.clone(), few.clone()).prop_map(|(v, x)| Command::DeleteExchange(v, x)),
        4 => (vhost.clone(), few.clone()).prop_map(|(v, q)| Command::DeclareQueue(v, q)),
        2 => (vhost.clone(), few.clone(), 1..9_u64)
            .prop_map(|(v, q, n)| Command::SetOverrides(v, q, n)),
        2 => (vhost.clone(), few.clone(), 1..9_u64)
            .prop_map(|(v, p, n)| Command::SetPolicy(v, p, n)),
        2 => (vhost.clone(), few.clone(), 1..9_u64)
            .prop_map(|(v, p, n)| Command::SetOperatorPolicy(v, p, n)),
        1 => (vhost.clone(), few.clone()).prop_map(|(v, p)| Command::ClearPolicy(v, p)),
        1 => (vhost.clone(), few.clone()).prop_map(|(v, p)| Command::ClearOperatorPolicy(v, p)),
        1 => (vhost.clone(), few).prop_map(|(v, q)| Command::DeleteQueue(v, q)),
        // An exchange that deletes itself may go at a start if its last binding was not durable.
        4 => (vhost.clone(), durable.clone(), durable.clone())
            .prop_map(|(v, x, q)| Command::Bind(v, x, q)),
        1 => (vhost, durable.clone(), durable).prop_map(|(v, x, q)| Command::Unbind(v, x, q)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_start_finds_what_memory_had(commands in prop::collection::vec(command(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (before, after) = runtime.block_on(async {
            let store = Arc::new(MemoryStore::new());
            let broker = open(store.clone()).await;
            for command in commands {
                assert!(carry_out(&broker, command).await);
            }
            let before = definitions(&broker, true);
            broker.committer().shutdown();
            let after = definitions(&*open(store).await, true);
            (before, after)
        });
        prop_assert_eq!(before, after);
    }
}
