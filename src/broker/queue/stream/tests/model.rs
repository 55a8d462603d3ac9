//! A stream compared with a list of numbers.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Sync,
    Consume(u64),
    Grant(usize, u8),
    Restart,
    Evict,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..6).prop_map(Step::Publish),
        3 => Just(Step::Sync),
        2 => (0u64..40).prop_map(Step::Consume),
        4 => (0usize..6, 0u8..8).prop_map(|(index, amount)| Step::Grant(index, amount)),
        1 => Just(Step::Restart),
        1 => Just(Step::Evict),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Every consumer gets the durable messages from its position on, in order, as far as its credit goes.
    /// The only gaps are those that retention made. No consumer gets a message that a restart could take
    /// back.
    #[test]
    fn a_stream_behaves_like_a_list(
        max_bytes in prop_oneof![Just(None), (30i64..200).prop_map(Some)],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut fields = vec![("x-stream-max-segment-size-bytes", number(30))];
        fields.extend(max_bytes.map(|max| ("x-max-length-bytes", number(max))));
        let mut f = Fixture::new(&fields);
        // For each consumer its id, the next offset that it should get, and its credit.
        let mut readers: Vec<(ConsumerId, u64, u64)> = Vec::new();
        let (mut next, mut durable) = (0u64, 0u64);
        for step in steps {
            match step {
                Step::Publish(count) => {
                    let mut bytes = BytesMut::new();
                    bytes.put_u64(next);
                    let run: Vec<_> = (0..count).map(|_| message(&bytes, None)).collect();
                    f.publish(&run);
                    next += u64::from(count);
                }
                Step::Sync => {
                    f.sync();
                    durable = next;
                }
                Step::Consume(offset) if readers.len() < 6 => {
                    readers.push((f.consume(StreamOffset::Offset(offset), 3), offset, 3));
                }
                Step::Consume(_) => {}
                Step::Grant(index, amount) => {
                    if let Some((id, _, credit)) = readers.get_mut(index) {
                        let id = *id;
                        *credit += u64::from(amount);
                        f.grant(id, u32::from(amount));
                    }
                }
                Step::Restart => {
                    f.restart();
                    readers.clear();
                    f.deliveries.clear();
                    next = durable;
                }
                Step::Evict => f.stream.evict(0, Ticket(f.ticket)),
            }
            prop_assert_eq!(f.stream.next, next);
            prop_assert!(f.stream.floor <= next);
            if let Some(max) = max_bytes {
                let open = f.stream.segments.len() == 1;
                prop_assert!(open || f.stream.counts().ready_bytes <= u64::try_from(max).unwrap());
            }
            for (id, at, credit) in &mut readers {
                for offset in f.delivered(*id) {
                    prop_assert!(offset < durable, "{} of {}", offset, durable);
                    prop_assert!(offset == *at || (offset > *at && offset <= f.stream.floor), "{} at {}", offset, at);
                    prop_assert!(*credit > 0);
                    *at = offset + 1;
                    *credit -= 1;
                }
                let waits = (*at).max(f.stream.floor) < durable;
                prop_assert!(*credit == 0 || !waits, "{:?} at {} of {}", id, at, durable);
            }
        }
    }
}
