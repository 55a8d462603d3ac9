//! Random changes of policies, declares and deletes: every queue and exchange has the policy that a naive model finds.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret::broker::broker::BrokerConfig;
use leveret::broker::exchange::{Exchange, ExchangeKind};
use leveret::broker::vhost::{NewQueue, Vhost};
use leveret::model::policy::{PolicyDraft, PolicyKind};
use leveret::store::MemoryStore;
use leveret::wire::FieldTable;
use proptest::prelude::*;
use serde_json::json;

use crate::support::{socketless, table, text};

#[derive(Clone, Debug)]
enum Step {
    Set(PolicyKind, u8, Model),
    Clear(PolicyKind, u8),
    Declare(u8),
    Delete(u8),
    DeclareExchange(u8),
    DeleteExchange(u8),
}

/// A policy for names that end in one of the digits up to `up_to`.
#[derive(Clone, Debug)]
struct Model {
    up_to: u8,
    apply_to: &'static str,
    key: &'static str,
    priority: i8,
}

/// The type of queue `n`.
fn kind(n: u8) -> &'static str {
    ["classic", "quorum", "stream"][usize::from(n % 3)]
}

fn queue_name(n: u8) -> String {
    format!("{}-{n}", kind(n))
}

fn is_for(model: &Model, kind: &str) -> bool {
    let by_type = match model.apply_to {
        "all" => true,
        "exchanges" => kind == "exchange",
        "queues" => kind != "exchange",
        "classic_queues" => kind == "classic",
        "quorum_queues" => kind == "quorum",
        "streams" => kind == "stream",
        other => panic!("{other}"),
    };
    let by_key = match (model.key, kind) {
        (_, "exchange") => true,
        ("delivery-limit", kind) => kind == "quorum",
        ("message-ttl", kind) => kind != "stream",
        ("max-length-bytes", _) => true,
        (other, _) => panic!("{other}"),
    };
    by_type && by_key
}

/// The policy that applies: of all that match, the one of highest priority, and of these the first by name.
fn expected(policies: &BTreeMap<u8, Model>, n: u8, kind: &str) -> Option<String> {
    let mut best: Option<(i8, u8)> = None;
    for (name, model) in policies {
        if n <= model.up_to
            && is_for(model, kind)
            && best.is_none_or(|(priority, _)| model.priority > priority)
        {
            best = Some((model.priority, *name));
        }
    }
    best.map(|(_, name)| format!("p{name}"))
}

fn step() -> impl Strategy<Value = Step> {
    let apply_to = prop::sample::select(vec![
        "all",
        "exchanges",
        "queues",
        "classic_queues",
        "quorum_queues",
        "streams",
    ]);
    let key = prop::sample::select(vec!["delivery-limit", "message-ttl", "max-length-bytes"]);
    let model =
        (0..6_u8, apply_to, key, -2..3_i8).prop_map(|(up_to, apply_to, key, priority)| Model {
            up_to,
            apply_to,
            key,
            priority,
        });
    let of = prop::sample::select(vec![PolicyKind::User, PolicyKind::Operator]);
    prop_oneof![
        4 => (of.clone(), 0..5_u8, model).prop_map(|(of, name, model)| Step::Set(of, name, model)),
        2 => (of, 0..5_u8).prop_map(|(of, name)| Step::Clear(of, name)),
        3 => (0..6_u8).prop_map(Step::Declare),
        1 => (0..6_u8).prop_map(Step::Delete),
        2 => (0..6_u8).prop_map(Step::DeclareExchange),
        1 => (0..6_u8).prop_map(Step::DeleteExchange),
    ]
}

type Models = [BTreeMap<u8, Model>; 2];

async fn carry_out(vhost: &Arc<Vhost>, models: &mut Models, step: Step) {
    let of = |kind| match kind {
        PolicyKind::User => 0,
        PolicyKind::Operator => 1,
    };
    match step {
        Step::Set(kind, name, model) => {
            let draft = PolicyDraft {
                name: format!("p{name}").into(),
                pattern: format!("-[0-{}]$", model.up_to).into(),
                apply_to: Some(model.apply_to.into()),
                definition: json!({model.key: 100_000}),
                priority: Some(model.priority.into()),
            };
            vhost.set_policy(kind, draft).await.unwrap();
            models[of(kind)].insert(name, model);
        }
        Step::Clear(kind, name) => {
            let cleared = vhost.clear_policy(kind, &format!("p{name}")).await;
            assert_eq!(cleared.is_ok(), models[of(kind)].remove(&name).is_some());
        }
        Step::Declare(n) => {
            let new = NewQueue {
                name: queue_name(n).into(),
                durable: true,
                exclusive_owner: None,
                auto_delete: false,
                arguments: table(&[("x-queue-type", text(kind(n)))]),
            };
            vhost.create_queue(new).await.unwrap();
        }
        Step::Delete(n) => {
            if let Some(queue) = vhost.queue(&queue_name(n)) {
                vhost.delete_queue(&queue, |_| true).await.unwrap();
            }
        }
        Step::DeclareExchange(n) => {
            let exchange = Exchange {
                name: format!("exchange-{n}").into(),
                kind: ExchangeKind::Fanout,
                durable: true,
                auto_delete: false,
                internal: false,
                arguments: FieldTable::default(),
                stats: Arc::default(),
            };
            vhost.create_exchange(exchange).await.unwrap();
        }
        Step::DeleteExchange(n) => {
            let name = format!("exchange-{n}");
            vhost.delete_exchange(&name, false).await.unwrap();
        }
    }
}

fn check(vhost: &Vhost, models: &Models) {
    for n in 0..6 {
        let [user, operator] = models;
        let expected = |kind| (expected(user, n, kind), expected(operator, n, kind));
        if let Some(queue) = vhost.queue(&queue_name(n)) {
            let name = |name: Option<leveret::model::Name>| name.map(|name| name.to_string());
            let found = (
                name(queue.policy_name()),
                name(queue.operator_policy_name()),
            );
            assert_eq!(found, expected(kind(n)), "{}", queue.name());
        }
        if let Some(exchange) = vhost.exchange(&format!("exchange-{n}")) {
            let applied = vhost.exchange_policies(&exchange);
            let found = (
                applied.policy_name().map(|name| name.to_string()),
                applied.operator_policy_name().map(|name| name.to_string()),
            );
            assert_eq!(found, expected("exchange"), "{}", exchange.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn everything_follows_the_policy_that_the_model_finds(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Arc::new(MemoryStore::new());
            let mut models = Models::default();
            let broker = socketless::open(store.clone(), BrokerConfig::default()).await;
            let vhost = broker.vhost("/").unwrap();
            for step in steps {
                carry_out(&vhost, &mut models, step).await;
                check(&vhost, &models);
            }
            broker.committer().shutdown();
            // A start finds the same.
            let broker = socketless::open(store, BrokerConfig::default()).await;
            check(&broker.vhost("/").unwrap(), &models);
        });
    }
}
