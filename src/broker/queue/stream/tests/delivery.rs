//! Which messages consumers get, and when.

use super::*;

#[test]
fn nothing_is_delivered_before_it_is_durable() {
    let mut f = Fixture::new(&[]);
    let id = f.consume(StreamOffset::First, 10);
    f.publish(&[message(b"m", None)]);
    assert_eq!(f.counts(), (1, 0));
    f.commit();
    let later = f.consume(StreamOffset::First, 10);
    assert!(f.delivered(id).is_empty());
    f.stream
        .durable_up_to(f.now_ms, Ticket(f.ticket), &mut f.fx);
    f.carry_out();
    assert_eq!(f.delivered(id), [0]);
    assert_eq!(f.delivered(later), [0]);
}

#[test]
fn a_consumer_gets_as_many_messages_as_it_has_credit() {
    let mut f = Fixture::new(&[]);
    f.publish_durable(10);
    let slow = f.consume(StreamOffset::First, 2);
    let quick = f.consume(StreamOffset::First, 100);
    assert_eq!(f.delivered(slow), [0, 1]);
    assert_eq!(f.delivered(quick), (0..10).collect::<Vec<_>>());
    f.grant(slow, 3);
    assert_eq!(f.delivered(slow), [2, 3, 4]);
    f.grant(slow, 0);
    assert!(f.delivered(slow).is_empty());
    f.publish_durable(1);
    assert!(f.delivered(slow).is_empty());
    assert_eq!(f.delivered(quick), [10]);
    f.grant(slow, 50);
    assert_eq!(f.delivered(slow), [5, 6, 7, 8, 9, 10]);
}

#[test]
fn filters_are_exact() {
    let mut f = Fixture::new(&[]);
    let run: Vec<_> = [Some("a"), None, Some("b"), Some("a"), Some("")]
        .iter()
        .map(|value| message(b"m", *value))
        .collect();
    f.publish(&run);
    f.sync();
    let filter = |values: &[&str], unfiltered: bool| {
        let mut table = FieldTable::default();
        let values: Vec<AMQPValue> = values
            .iter()
            .map(|value| AMQPValue::LongString((*value).into()))
            .collect();
        table.insert(
            "x-stream-filter".into(),
            AMQPValue::FieldArray(values.into()),
        );
        table.insert(
            "x-stream-match-unfiltered".into(),
            AMQPValue::Boolean(unfiltered),
        );
        StreamFilter::parse(&table).unwrap()
    };
    for (values, unfiltered, expected) in [
        (&["a"][..], false, &[0, 3][..]),
        (&["b", "a"], false, &[0, 2, 3]),
        (&["b"], true, &[1, 2]),
        (&["z"], false, &[]),
        (&[""], false, &[4]),
    ] {
        let id = f.consume_filtered(StreamOffset::First, 10, filter(values, unfiltered));
        assert_eq!(f.delivered(id), expected, "{values:?}");
    }
    // Messages that the filter passes over cost no credit.
    let id = f.consume_filtered(StreamOffset::First, 1, filter(&["b"], false));
    assert_eq!(f.delivered(id), [2]);
}

#[test]
fn delayed_messages_are_appended_when_due() {
    let mut f = Fixture::new(&[]);
    let id = f.consume(StreamOffset::First, 10);
    let mut late = Message::clone(&message(b"late", None));
    late.delay_ms = Some(5_000);
    f.publish(&[Arc::new(late), message(b"m", None)]);
    f.sync();
    assert_eq!(f.delivered(id), [0]);
    assert_eq!(f.stream.counts().delayed, 1);
    f.restart();
    let id = f.consume(StreamOffset::First, 10);
    assert_eq!(f.delivered(id), [0]);
    // The message is read some time before it is due.
    for next_ms in [1_003_000, 1_005_000] {
        assert_eq!(f.stream.deadline_ms(f.now_ms), Some(next_ms));
        f.now_ms = next_ms;
        f.stream.tick(f.now_ms, &mut f.fx);
        f.carry_out();
    }
    f.sync();
    assert_eq!(f.delivered(id), [1]);
}
