//! Routes from exchanges to queues, and removals.

use std::sync::Arc;

use super::walk::{Progress, Walk};
use super::*;
use crate::broker::exchange::{
    ALTERNATE_EXCHANGE, Binding, Content, Destination, Exchange, ExchangeKind, RouteKeys,
};
use crate::wire::{AMQPProperties, AMQPValue, FieldTable, encode_properties};

fn exchange(name: &str, kind: ExchangeKind) -> Exchange {
    Exchange {
        name: name.into(),
        kind,
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
        stats: Arc::default(),
    }
}

fn routing(exchanges: &[(&str, ExchangeKind)], queues: &[&'static str]) -> Routing<&'static str> {
    let mut routing = Routing::default();
    routing.insert_exchange(Arc::new(exchange("", ExchangeKind::Direct)));
    for (name, kind) in exchanges {
        routing.insert_exchange(Arc::new(exchange(name, *kind)));
    }
    for name in queues {
        routing.insert_queue((*name).into(), *name);
    }
    routing
}

fn to_queue(source: &str, key: &str, queue: &str) -> Arc<Binding> {
    let to = Destination::Queue(queue.into());
    Arc::new(Binding::new(
        source.into(),
        to,
        key.into(),
        FieldTable::default(),
    ))
}

fn to_exchange(source: &str, key: &str, exchange: &str) -> Arc<Binding> {
    let to = Destination::Exchange(exchange.into());
    Arc::new(Binding::new(
        source.into(),
        to,
        key.into(),
        FieldTable::default(),
    ))
}

fn routed(
    routing: &Routing<&'static str>,
    exchange: &str,
    key: &str,
    cc: &[&str],
) -> Vec<&'static str> {
    let mut out = Vec::new();
    assert_eq!(routing.route(exchange, &keys(key, cc), &mut out), None);
    out
}

fn keys<'a>(routing_key: &'a str, cc: &'a [&'a str]) -> RouteKeys<'a> {
    RouteKeys {
        routing_key,
        cc,
        properties: &[],
    }
}

#[test]
fn the_default_exchange_knows_queues_by_name() {
    let routing = routing(&[], &["q", "r"]);
    assert_eq!(routed(&routing, "", "q", &[]), ["q"]);
    assert_eq!(routed(&routing, "", "q", &["r", "q", "none"]), ["q", "r"]);
    assert!(routed(&routing, "", "none", &[]).is_empty());
    assert!(routed(&routing, "missing", "q", &[]).is_empty());
}

#[test]
fn a_queue_gets_a_message_once_and_cycles_end() {
    let kind = ExchangeKind::Topic;
    let mut routing = routing(&[("a", kind), ("b", kind)], &["q"]);
    for binding in [
        to_exchange("a", "#", "b"),
        to_exchange("b", "#", "a"),
        to_exchange("a", "#", "a"),
        to_queue("a", "*", "q"),
        to_queue("a", "#", "q"),
        to_queue("b", "k", "q"),
    ] {
        assert!(routing.bind(Arc::clone(&binding)));
        assert!(!routing.bind(binding), "binding again changes nothing");
    }
    assert_eq!(routed(&routing, "a", "k", &["k2", "k3"]), ["q"]);
    assert_eq!(routed(&routing, "b", "k", &[]), ["q"]);
}

#[test]
fn the_alternate_exchange_takes_what_nothing_is_bound_for() {
    let mut routing = routing(
        &[
            ("alt", ExchangeKind::Fanout),
            ("empty", ExchangeKind::Fanout),
        ],
        &["q", "k"],
    );
    let mut with_alternate = |name: &str, alternate: &str| {
        let mut exchange = exchange(name, ExchangeKind::Direct);
        let alternate = AMQPValue::LongString(alternate.into());
        exchange
            .arguments
            .insert(ALTERNATE_EXCHANGE.into(), alternate);
        routing.insert_exchange(Arc::new(exchange));
    };
    with_alternate("x", "alt");
    with_alternate("missing", "nowhere");
    with_alternate("default", "");
    with_alternate("self", "self");
    routing.bind(to_queue("alt", "", "q"));
    routing.bind(to_exchange("x", "e2e", "empty"));
    routing.bind(to_queue("x", "k", "k"));
    assert_eq!(routed(&routing, "x", "none", &[]), ["q"]);
    assert_eq!(
        routed(&routing, "x", "k", &["none"]),
        ["k"],
        "one key matched"
    );
    assert!(
        routed(&routing, "x", "e2e", &[]).is_empty(),
        "bound, if to nothing"
    );
    assert!(routed(&routing, "missing", "k", &[]).is_empty());
    assert!(routed(&routing, "default", "k", &[]).is_empty());
    assert!(routed(&routing, "self", "k", &[]).is_empty());
}

fn remove(routing: &mut Routing<&'static str>, removal: &Removal) {
    for exchange in &removal.exchanges {
        routing.remove_exchange(&exchange.name);
    }
    for binding in &removal.bindings {
        routing.unbind(binding);
    }
}

#[test]
fn auto_delete_exchanges_go_one_after_the_other() {
    let mut routing = routing(&[("stays", ExchangeKind::Fanout)], &["q"]);
    for name in ["x", "y"] {
        let mut exchange = exchange(name, ExchangeKind::Fanout);
        exchange.auto_delete = true;
        routing.insert_exchange(Arc::new(exchange));
    }
    routing.bind(to_exchange("stays", "", "y"));
    routing.bind(to_exchange("y", "", "x"));
    routing.bind(to_queue("x", "", "q"));
    routing.bind(to_queue("x", "2", "q"));
    let second = to_queue("x", "2", "q");
    assert!(
        routing
            .removal_of_bindings([&*second], &[])
            .exchanges
            .is_empty()
    );
    routing.unbind(&second);
    let removed = routing.removal_of_queue("q");
    let names: Vec<&str> = removed.exchanges.iter().map(|x| &*x.name).collect();
    assert_eq!(names, ["x", "y"]);
    assert_eq!(removed.bindings.len(), 3);
    routing.remove_queue("q");
    remove(&mut routing, &removed);
    assert_eq!(routing.bindings().count(), 0);
    assert!(routing.inbound.is_empty());
    assert!(routing.exchange("stays").is_some());
}

#[test]
fn an_exchange_takes_its_bindings_along() {
    let kind = ExchangeKind::Direct;
    let mut routing = routing(&[("a", kind), ("b", kind)], &["q"]);
    routing.bind(to_exchange("a", "k", "b"));
    routing.bind(to_exchange("b", "k", "b"));
    routing.bind(to_queue("b", "k", "q"));
    assert!(routing.is_used("b"));
    let removed = routing.removal_of_exchange("b");
    assert_eq!((removed.exchanges.len(), removed.bindings.len()), (1, 3));
    remove(&mut routing, &removed);
    assert!(!routing.is_used("a"));
    assert!(routing.inbound.is_empty());
    let unknown = routing.removal_of_bindings([&*to_queue("a", "k", "q")], &[]);
    assert!(unknown.bindings.is_empty());
}

#[test]
fn routes_that_depend_on_more_than_keys_are_known() {
    let mut routing = routing(
        &[
            ("a", ExchangeKind::Direct),
            ("b", ExchangeKind::Fanout),
            ("h", ExchangeKind::Headers),
        ],
        &[],
    );
    let by_key = |routing: &Routing<&'static str>, exchange: &str, key: &str| {
        let keys = keys(key, &[]);
        routing.try_route(exchange, &keys).unwrap().by_key
    };
    assert!(!by_key(&routing, "h", "k"));
    assert!(by_key(&routing, "a", "k"));
    routing.bind(to_exchange("a", "k", "b"));
    assert!(by_key(&routing, "a", "k"));
    routing.bind(to_exchange("b", "", "h"));
    assert!(!by_key(&routing, "a", "k"));
    assert!(by_key(&routing, "a", "other"), "that way leads past it");
}

/// A publish with many keys to an exchange with many bindings, from which cycles and diamonds lead on. The
/// number of exchanges and bindings bounds the walk and its result.
#[test]
fn each_of_many_keys_and_bindings_is_searched_once() {
    let names: Vec<&'static str> = (0..50)
        .map(|n| &*Box::leak(format!("x{n}").into_boxed_str()))
        .collect();
    let exchanges: Vec<_> = names
        .iter()
        .map(|name| (*name, ExchangeKind::Topic))
        .collect();
    let mut routing = routing(&exchanges, &names);
    for from in &names {
        for to in &names {
            routing.bind(to_exchange(from, "#", to));
            routing.bind(to_queue(from, "#", to));
        }
    }
    let many: Vec<String> = (0..2_000).map(|n| format!("a.{}", n % 1_000)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let content = Content::new(keys("a.0", &many));
    let snapshot = routing.snapshot("x0");
    let mut walk = Walk::new(&snapshot, "x0", &content);
    let mut rounds = 0;
    while walk.advance(STEPS_AT_ONCE) == Progress::More {
        rounds += 1;
    }
    // 50 exchanges, each asked for 1,000 keys of two words, and giving 100 destinations.
    assert!((10..40).contains(&rounds), "{rounds}");
    let found = walk.finish();
    assert_eq!(found.now.len(), names.len());
    assert!(routing.try_route("x0", &keys("a.0", &many)).is_none());
    assert_eq!(routed(&routing, "x0", "a.0", &many).len(), names.len());
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let kind = ExchangeKind::Direct;
    let mut routing = routing(&[("a", kind), ("b", kind), ("other", kind)], &["q", "r"]);
    routing.bind(to_exchange("a", "k", "b"));
    routing.bind(to_queue("b", "k", "q"));
    let snapshot = routing.snapshot("a");
    assert_eq!(snapshot.nodes.len(), 2);
    routing.bind(to_queue("b", "k", "r"));
    routing.unbind(&to_queue("b", "k", "q"));
    routing.remove_exchange("a");
    let content = Content::new(keys("k", &[]));
    let mut walk = Walk::new(&snapshot, "a", &content);
    assert_eq!(walk.advance(usize::MAX), Progress::Done);
    assert_eq!(walk.finish().now, ["q"]);
    assert_eq!(routed(&routing, "b", "k", &[]), ["r"]);
}

#[test]
fn a_delayed_exchange_holds_what_says_so_wherever_it_stands() {
    let mut delayed = exchange("d", ExchangeKind::Delayed);
    let direct = AMQPValue::LongString("direct".into());
    delayed.arguments.insert("x-delayed-type".into(), direct);
    let mut routing = routing(&[("x", ExchangeKind::Fanout)], &["now", "q", "other"]);
    routing.insert_exchange(Arc::new(delayed));
    routing.bind(to_queue("d", "k", "q"));
    routing.bind(to_queue("d", "l", "other"));
    let mut none = Exchange::clone(routing.exchange("d").unwrap());
    none.name = "none".into();
    routing.insert_exchange(Arc::new(none));
    routing.bind(to_exchange("x", "", "d"));
    routing.bind(to_queue("x", "", "now"));
    let properties = |delay| {
        let mut headers = FieldTable::default();
        headers.insert("x-delay".into(), AMQPValue::LongInt(delay));
        encode_properties(&AMQPProperties::default().with_headers(headers))
    };
    for (from, delay, expected_now, expected_held) in [
        ("d", 500, &[][..], Some(&["q"][..])),
        ("x", 500, &["now"], Some(&["q"])),
        ("none", 500, &[], None),
        ("d", 0, &["q"], None),
        ("x", -500, &["now", "q"], None),
    ] {
        let properties = properties(delay);
        let keys = RouteKeys {
            routing_key: "k",
            cc: &[],
            properties: &properties,
        };
        let mut now = Vec::new();
        let held = routing.route(from, &keys, &mut now);
        assert_eq!(now, expected_now, "{from} {delay}");
        let by_key = routing.try_route(from, &keys).unwrap().by_key;
        assert!(!by_key, "{from} {delay}");
        let expected = expected_held.map(|queues| DelayedRoute {
            delay_ms: 500,
            queues: queues.to_vec(),
        });
        assert_eq!(held, expected, "{from} {delay}");
    }
}
