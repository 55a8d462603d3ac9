//! Proposals for changes of exchanges and queues, as tables, without a broker.

use std::sync::Arc;

use super::change::{Change, QueueHandle};
use super::claims::{ClaimSet, Claims, Subject};
use super::creation::{Created, NewQueue};
use super::propose::{Decision, View};
use crate::broker::error::BrokerError;
use crate::broker::exchange::{Binding, Destination, Exchange, ExchangeKind};
use crate::broker::limits::VhostLimits;
use crate::broker::queue::QueueSpec;
use crate::broker::routing::Routing;
use crate::model::arguments::{QUEUE_TYPE, QueueArguments};
use crate::model::{Name, QueueId, QueueOverrides};
use crate::wire::{AMQPValue, FieldTable};

type Handle = Arc<QueueSpec>;

impl QueueHandle for Handle {
    fn spec(&self) -> &QueueSpec {
        self
    }
}

fn spec(id: u64, name: &str, durable: bool) -> Handle {
    Arc::new(QueueSpec {
        id: QueueId(id),
        name: name.into(),
        durable,
        exclusive_owner: None,
        auto_delete: false,
        arguments: QueueArguments::shared(&FieldTable::default()).unwrap(),
    })
}

fn exchange(name: &str, auto_delete: bool) -> Exchange {
    Exchange {
        name: name.into(),
        kind: ExchangeKind::Direct,
        durable: true,
        auto_delete,
        internal: false,
        arguments: FieldTable::default(),
        stats: Arc::default(),
    }
}

fn new(name: &str) -> NewQueue {
    NewQueue {
        name: name.into(),
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments: FieldTable::default(),
    }
}

fn binding(source: &str, to: &str) -> Binding {
    let destination = match to.strip_prefix("exchange:") {
        Some(name) => Destination::Exchange(name.into()),
        None => Destination::Queue(to.into()),
    };
    Binding::new(
        source.into(),
        destination,
        "k".into(),
        FieldTable::default(),
    )
}

/// Exchanges `x` and `auto`, queues `q` (id 1) and `transient` (id 2), `auto` bound to `q`, and `x` to `auto`.
struct Fixture {
    vhost: Name,
    routing: Routing<Handle>,
    claims: Claims,
    limits: VhostLimits,
    coming_queues: usize,
}

impl Fixture {
    fn new() -> Fixture {
        let mut routing = Routing::default();
        routing.insert_exchange(Arc::new(exchange("x", false)));
        routing.insert_exchange(Arc::new(exchange("auto", true)));
        routing.insert_queue("q".into(), spec(1, "q", true));
        routing.insert_queue("transient".into(), spec(2, "transient", false));
        routing.bind(Arc::new(binding("auto", "q")));
        routing.bind(Arc::new(binding("x", "exchange:auto")));
        Fixture {
            vhost: "/".into(),
            routing,
            claims: Claims::default(),
            limits: VhostLimits::default(),
            coming_queues: 0,
        }
    }

    fn view(&self) -> View<'_, Handle> {
        View {
            vhost: &self.vhost,
            routing: &self.routing,
            claims: &self.claims,
            coming_queues: self.coming_queues,
            limits: self.limits,
        }
    }

    fn create_queue(
        &self,
        new: &NewQueue,
    ) -> Result<Decision<Handle, Created<Handle>>, BrokerError> {
        let open = |spec| Arc::new(spec);
        self.view().create_queue(new, || QueueId(9), open)
    }
}

/// A decision in short: `wait`, `nothing`, or the changes.
fn short<T>(decision: Result<Decision<Handle, T>, BrokerError>) -> String {
    let valid = match decision {
        Err(error) => return error.to_string(),
        Ok(Decision::Wait) => return "wait".to_owned(),
        Ok(Decision::Nothing(_)) => return "nothing".to_owned(),
        Ok(Decision::Change(valid)) => valid,
    };
    let to = |binding: &Binding| format!("{}>{}", binding.source, binding.destination.name());
    let durable = |is_durable| if is_durable { "" } else { "~" };
    let changes = valid.changes.iter().map(|change| match change {
        Change::PutExchange {
            exchange,
            was_bound,
        } => {
            let bound = if *was_bound { " bound" } else { "" };
            format!("+{}{bound}", exchange.name)
        }
        Change::RemoveExchange(exchange) => format!("-{}", exchange.name),
        Change::PutQueue(queue) => format!("+{} {}", queue.name, queue.id.0),
        Change::SetOverrides { queue, .. } => format!("={}", queue.name),
        Change::RemoveQueue(queue) => format!("-{}", queue.name),
        Change::PutBinding(binding) => format!("+{}{}", durable(binding.durable), to(binding)),
        Change::RemoveBinding(binding) => format!("-{}", to(binding)),
    });
    changes.collect::<Vec<_>>().join(", ")
}

#[test]
fn exchanges_are_created_once() {
    let fixture = Fixture::new();
    let create = |name: &str| short(fixture.view().create_exchange(&exchange(name, false)));
    assert_eq!(create("new"), "+new");
    assert_eq!(create("x"), "nothing");
    assert_eq!(create("amq.leveret.rewind"), "nothing");
    assert!(create(&"n".repeat(256)).contains("255"));
    let mut hash = exchange("hash", false);
    hash.kind = ExchangeKind::Delayed;
    assert!(short(fixture.view().create_exchange(&hash)).contains("x-delayed-type"));
}

#[test]
fn exchanges_go_with_their_bindings() {
    let fixture = Fixture::new();
    for (name, if_unused, expected) in [
        ("auto", false, "-auto, -x>auto, -auto>q"),
        ("auto", true, "exchange 'auto' in vhost '/' in use"),
        ("none", true, "nothing"),
    ] {
        let decision = short(fixture.view().delete_exchange(name, if_unused));
        assert_eq!(decision, expected, "{name} {if_unused}");
    }
}

#[test]
fn queues_are_created_once_and_within_the_limit() {
    let mut fixture = Fixture::new();
    assert_eq!(short(fixture.create_queue(&new("r"))), "+r 9");
    assert_eq!(short(fixture.create_queue(&new("q"))), "nothing");
    let mut wrong = new("r");
    wrong
        .arguments
        .insert(QUEUE_TYPE.into(), AMQPValue::Boolean(true));
    assert!(matches!(
        fixture.create_queue(&wrong),
        Err(BrokerError::InvalidArgument { .. })
    ));
    fixture.limits.max_queues = Some(3);
    assert_eq!(short(fixture.create_queue(&new("r"))), "+r 9");
    // A queue that is being created counts.
    fixture.coming_queues = 1;
    assert!(short(fixture.create_queue(&new("r"))).contains("queue limit in vhost '/' (3)"));
}

#[test]
fn queues_go_with_bindings_and_exchanges_that_delete_themselves() {
    let mut fixture = Fixture::new();
    let delete = |fixture: &Fixture, queue| short(Ok(fixture.view().delete_queue(&queue)));
    assert_eq!(
        delete(&fixture, spec(1, "q", true)),
        "-q, -auto, -auto>q, -x>auto"
    );
    assert_eq!(delete(&fixture, spec(7, "q", true)), "nothing");
    fixture.routing.bind(Arc::new(binding("auto", "transient")));
    assert_eq!(delete(&fixture, spec(1, "q", true)), "-q, -auto>q");
}

#[test]
fn overrides_are_for_queues_that_are_no_streams() {
    let mut fixture = Fixture::new();
    let mut arguments = FieldTable::default();
    arguments.insert(QUEUE_TYPE.into(), AMQPValue::LongString("stream".into()));
    let mut stream = QueueSpec::clone(&spec(3, "s", true));
    stream.arguments = QueueArguments::shared(&arguments).unwrap();
    fixture.routing.insert_queue("s".into(), Arc::new(stream));
    let set = |name: &str| {
        short(
            fixture
                .view()
                .set_overrides(name, &QueueOverrides::default()),
        )
    };
    assert_eq!(set("q"), "=q");
    assert_eq!(set("none"), "no queue 'none' in vhost '/'");
    assert!(set("s").contains("it is a stream"));
}

#[test]
fn bindings_are_durable_if_both_ends_are() {
    let fixture = Fixture::new();
    for (source, to, expected) in [
        ("x", "q", "+x>q"),
        ("x", "transient", "+~x>transient"),
        ("auto", "q", "nothing"),
        ("auto", "transient", "+~auto>transient"),
        ("none", "q", "no exchange 'none' in vhost '/'"),
        ("x", "none", "no queue 'none' in vhost '/'"),
        ("x", "exchange:none", "no exchange 'none' in vhost '/'"),
    ] {
        let decision = short(fixture.view().bind(&binding(source, to), |_| Ok(())));
        assert_eq!(decision, expected, "{source} {to}");
    }
    let refused = |_: &Handle| Err(BrokerError::DefaultExchange);
    let decision = fixture.view().bind(&binding("x", "q"), refused);
    assert!(matches!(decision, Err(BrokerError::DefaultExchange)));
}

/// A start has to know that something was bound to an exchange that deletes itself, even if no binding is stored.
#[test]
fn the_first_binding_of_an_auto_delete_exchange_is_noted_with_it() {
    let mut fixture = Fixture::new();
    fixture
        .routing
        .insert_exchange(Arc::new(exchange("fresh", true)));
    let bind = |fixture: &Fixture| {
        short(
            fixture
                .view()
                .bind(&binding("fresh", "transient"), |_| Ok(())),
        )
    };
    assert_eq!(bind(&fixture), "+~fresh>transient, +fresh bound");
    fixture.routing.note_bound("fresh");
    assert_eq!(bind(&fixture), "+~fresh>transient");
}

#[test]
fn unbinding_takes_along_what_deletes_itself() {
    let fixture = Fixture::new();
    let unbind = |source, to| short(fixture.view().unbind(&binding(source, to), |_| Ok(())));
    assert_eq!(unbind("auto", "q"), "-auto, -auto>q, -x>auto");
    assert_eq!(unbind("x", "exchange:auto"), "-x>auto");
    assert_eq!(unbind("x", "q"), "nothing");
}

#[test]
fn several_bindings_change_together() {
    let fixture = Fixture::new();
    let rebind = |bind: &[Binding], unbind: &[Binding]| short(fixture.view().rebind(bind, unbind));
    let (auto, other) = ([binding("auto", "q")], [binding("auto", "transient")]);
    assert_eq!(
        rebind(&other, &auto),
        "+~auto>transient, -auto>q",
        "the exchange gets a new binding"
    );
    assert_eq!(rebind(&auto, &other), "nothing");
    assert_eq!(rebind(&[], &auto), "-auto, -auto>q, -x>auto");
    let both = [binding("x", "q"), binding("x", "transient")];
    assert_eq!(rebind(&both, &[]), "+x>q, +~x>transient");
}

#[test]
fn a_proposal_waits_for_one_that_it_contradicts() {
    let queue = |name: &str| Subject::Queue(name.into());
    let of_exchange = |name: &str| Subject::Exchange(name.into());
    for (claimed, waits) in [
        (queue("q"), ["bind", "create q", "delete q", "overrides"]),
        (
            of_exchange("x"),
            ["bind", "create x", "delete x", "delete q"],
        ),
        (
            of_exchange("auto"),
            ["delete auto", "delete q", "unbind", ""],
        ),
        (
            Subject::Binding(Arc::new(binding("x", "q"))),
            ["bind", "", "", ""],
        ),
    ] {
        let mut fixture = Fixture::new();
        fixture
            .claims
            .take(&ClaimSet::default().exclusive(claimed.clone()));
        let view = fixture.view();
        let decisions = [
            ("bind", short(view.bind(&binding("x", "q"), |_| Ok(())))),
            (
                "unbind",
                short(view.unbind(&binding("auto", "q"), |_| Ok(()))),
            ),
            ("create q", short(fixture.create_queue(&new("q")))),
            (
                "create x",
                short(view.create_exchange(&exchange("x", false))),
            ),
            (
                "delete q",
                short(Ok(view.delete_queue(&spec(1, "q", true)))),
            ),
            ("delete x", short(view.delete_exchange("x", false))),
            ("delete auto", short(view.delete_exchange("auto", false))),
            (
                "overrides",
                short(view.set_overrides("q", &QueueOverrides::default())),
            ),
        ];
        for (what, decision) in &decisions {
            let contradicts = waits.contains(what)
                // Both ends of the binding that goes are claimed, and the exchange that deletes itself.
                || *what == "unbind" && claimed == queue("q")
                || *what == "unbind" && claimed == of_exchange("x")
                || *what == "delete auto" && claimed == of_exchange("x");
            assert_eq!(
                decision == "wait",
                contradicts,
                "{what} with {claimed:?}: {decision}"
            );
        }
    }
}
