//! Methods: compares the walk with amq-protocol's parser and generator, and the hand-written readers and
//! writers with both.

use bytes::BytesMut;
use proptest::prelude::*;

use super::{short_string, table, tables::table_like};
use crate::wire::protocol::{basic, channel, connection, exchange, queue, tx};
use crate::wire::{
    AMQPClass, DeliverView, Fault, FrameKind, FromBroker, Hot, MethodError, PublishView,
    TableError, decode_from_broker, decode_hot, decode_method, encode_method, put_ack, put_deliver,
    put_get_ok, put_nack, put_publish, put_return, reply_text, split,
};

const FRAME_MAX: u32 = 131_072;

fn payload(method: &AMQPClass) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_method(&mut out, 3, method);
    let frame = split(&mut out, FRAME_MAX)
        .expect("well formed")
        .expect("whole");
    assert_eq!(
        (frame.kind, frame.channel, out.is_empty()),
        (FrameKind::Method, 3, true)
    );
    frame.payload.to_vec()
}

/// Ids of every method of the protocol.
fn all_ids() -> Vec<(u16, u16)> {
    let methods: &[(u16, &[u16])] = &[
        (
            10,
            &[10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61, 70, 71],
        ),
        (20, &[10, 11, 20, 21, 40, 41]),
        (30, &[10, 11]),
        (40, &[10, 11, 20, 21, 30, 31, 40, 51]),
        (50, &[10, 11, 20, 21, 30, 31, 40, 41, 50, 51]),
        (
            60,
            &[
                10, 11, 20, 21, 30, 31, 40, 50, 60, 70, 71, 72, 80, 90, 100, 110, 111, 120,
            ],
        ),
        (85, &[10, 11]),
        (90, &[10, 11, 20, 21, 30, 31]),
    ];
    methods
        .iter()
        .flat_map(|(class, methods)| methods.iter().map(|method| (*class, *method)))
        .collect()
}

#[test]
fn exactly_the_methods_of_the_protocol_are_known() {
    let known = all_ids();
    for class_id in 0..100u16 {
        for method_id in 0..130u16 {
            let payload = [class_id.to_be_bytes(), method_id.to_be_bytes()].concat();
            let unknown = Err(MethodError::Unknown {
                class_id,
                method_id,
            });
            assert_eq!(
                decode_method(&payload) != unknown,
                known.contains(&(class_id, method_id))
            );
            assert_eq!(
                decode_hot(&payload).map(drop) != unknown.map(drop),
                known.contains(&(class_id, method_id))
            );
        }
    }
}

#[test]
fn every_method_of_zeros_is_read_by_walk_and_parser_alike() {
    // Zeros encode empty strings and tables, so exactly one number of zeros is a valid payload of each method.
    for (class_id, method_id) in all_ids() {
        let mut payload = [class_id.to_be_bytes(), method_id.to_be_bytes()].concat();
        let mut lengths = Vec::new();
        for zeros in 0..24 {
            let ours = decode_method(&payload);
            let parsed = matches!(
                amq_protocol::protocol::parse_class(&payload[..]),
                Ok(([], _))
            );
            assert_eq!(
                ours.is_ok(),
                parsed,
                "{class_id}.{method_id} with {zeros} zeros: {ours:?}"
            );
            lengths.extend(ours.ok().map(|_| zeros));
            payload.push(0);
        }
        assert_eq!(lengths.len(), 1, "{class_id}.{method_id}");
    }
}

#[test]
fn malformed_arguments_are_told_apart() {
    let cases: &[(&[u8], Fault, &str)] = &[
        (
            b"\0\x3c\0\x28\0\0\x05ab",
            Fault::Truncated,
            "cannot decode <<0,0,5,97,98>>",
        ),
        (
            b"\0\x3c\0\x28\0\0\0\0\0\x09",
            Fault::Trailing(1),
            "cannot decode <<0,0,0,0,0,9>>",
        ),
        (
            b"\0\x3c\0\x28\0\0\x01\xff\0\0",
            Fault::NotUtf8,
            "Malformed UTF-8 in shortstr",
        ),
        (
            b"\0\x3c\0\x50\0\0\0\0\0\0\0\x01",
            Fault::Truncated,
            "cannot decode <<0,0,0,0,0,0,0,1>>",
        ),
        (b"\0\x5a\0\x0a\0", Fault::Trailing(1), "cannot decode <<0>>"),
        (
            b"\0\x32\0\x0a\0\0\x01q\0\0\0\0\x09\x01k",
            Fault::Truncated,
            "cannot decode <<0,0,1,113,0,0,0,0,9,1,107>>",
        ),
    ];
    for (payload, expected, expected_text) in cases {
        for result in [
            decode_method(payload).map(drop),
            decode_hot(payload).map(drop),
        ] {
            let Err(MethodError::Malformed {
                class_id,
                method_id,
                fault,
                text,
            }) = result
            else {
                panic!("{payload:?} gave {result:?}");
            };
            assert_eq!(
                [class_id, method_id].map(u16::to_be_bytes).concat(),
                payload[..4]
            );
            assert_eq!((&fault, &text[..]), (expected, *expected_text));
        }
    }
    assert_eq!(decode_method(b"\0\x3c\0"), Err(MethodError::NoIds));
}

#[test]
fn a_table_malformed_inside_is_a_table_error() {
    let cases: &[(&[u8], TableError)] = &[
        (
            b"\0\x32\0\x0a\0\0\x01q\0\0\0\0\x03\x01kz",
            TableError::UnknownTag(b'z'),
        ),
        (
            b"\0\x32\0\x0a\0\0\x01q\0\0\0\0\x02\x01k",
            TableError::Truncated,
        ),
    ];
    for (payload, fault) in cases {
        let expected = Err(MethodError::Table {
            class_id: 50,
            method_id: 10,
            fault: fault.clone(),
        });
        assert_eq!(decode_method(payload), expected);
    }
    let odd_name = b"\0\x32\0\x0a\0\0\x01q\0\0\0\0\x04\x02\xff\xfeV";
    let Ok(AMQPClass::Queue(queue::AMQPMethod::Declare(declare))) = decode_method(odd_name) else {
        panic!("field names may be any bytes");
    };
    assert!(declare.arguments.contains_key("??"));
}

#[test]
fn a_reply_text_is_cut_as_rabbitmq_cuts_it() {
    assert_eq!(reply_text("short").as_str(), "short");
    assert_eq!(reply_text(&"x".repeat(255)).as_str(), "x".repeat(255));
    assert_eq!(
        reply_text(&"x".repeat(256)).as_str(),
        format!("{}...", "x".repeat(252))
    );
    // The cut never splits a character.
    assert_eq!(
        reply_text(&"é".repeat(200)).as_str(),
        format!("{}...", "é".repeat(126))
    );
    assert_eq!(
        reply_text(&format!("x{}", "é".repeat(200))).as_str(),
        format!("x{}...", "é".repeat(125))
    );
}

/// Arguments that resemble those of some method, sometimes malformed.
fn method_like() -> impl Strategy<Value = Vec<u8>> {
    (proptest::sample::select(all_ids()), table_like()).prop_map(|((class, method), rest)| {
        [&class.to_be_bytes()[..], &method.to_be_bytes(), &rest].concat()
    })
}

/// Methods with arbitrary arguments.
fn method() -> impl Strategy<Value = AMQPClass> {
    let s = short_string;
    prop_oneof![
        (s(), s(), any::<bool>(), any::<bool>()).prop_map(
            |(exchange, routing_key, mandatory, immediate)| {
                AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish {
                    exchange,
                    routing_key,
                    mandatory,
                    immediate,
                }))
            }
        ),
        (any::<u64>(), any::<bool>()).prop_map(|(delivery_tag, multiple)| {
            AMQPClass::Basic(basic::AMQPMethod::Ack(basic::Ack {
                delivery_tag,
                multiple,
            }))
        }),
        (any::<u64>(), any::<bool>(), any::<bool>()).prop_map(
            |(delivery_tag, multiple, requeue)| {
                AMQPClass::Basic(basic::AMQPMethod::Nack(basic::Nack {
                    delivery_tag,
                    multiple,
                    requeue,
                }))
            }
        ),
        (any::<u64>(), any::<bool>()).prop_map(|(delivery_tag, requeue)| {
            AMQPClass::Basic(basic::AMQPMethod::Reject(basic::Reject {
                delivery_tag,
                requeue,
            }))
        }),
        (s(), s(), any::<bool>(), any::<bool>(), table()).prop_map(
            |(queue, consumer_tag, no_ack, exclusive, arguments)| {
                AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
                    queue,
                    consumer_tag,
                    no_local: false,
                    no_ack,
                    exclusive,
                    nowait: false,
                    arguments,
                }))
            }
        ),
        (s(), any::<bool>(), table()).prop_map(|(queue, durable, arguments)| {
            AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
                queue,
                passive: false,
                durable,
                exclusive: !durable,
                auto_delete: false,
                nowait: true,
                arguments,
            }))
        }),
        (s(), s(), table()).prop_map(|(exchange, kind, arguments)| {
            AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
                exchange,
                kind,
                passive: false,
                durable: true,
                auto_delete: false,
                internal: true,
                nowait: false,
                arguments,
            }))
        }),
        (table(), s(), s()).prop_map(|(client_properties, mechanism, locale)| {
            AMQPClass::Connection(connection::AMQPMethod::StartOk(connection::StartOk {
                client_properties,
                mechanism,
                response: "\0guest\0guest".into(),
                locale,
            }))
        }),
        Just(AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {}))),
        Just(AMQPClass::Channel(channel::AMQPMethod::Open(
            channel::Open {}
        ))),
    ]
}

fn hot_as_method(hot: Hot<'_>) -> AMQPClass {
    AMQPClass::Basic(match hot {
        Hot::Publish(PublishView {
            exchange,
            routing_key,
            mandatory,
            immediate,
        }) => basic::AMQPMethod::Publish(basic::Publish {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            mandatory,
            immediate,
        }),
        Hot::Ack {
            delivery_tag,
            multiple,
        } => basic::AMQPMethod::Ack(basic::Ack {
            delivery_tag,
            multiple,
        }),
        Hot::Nack {
            delivery_tag,
            multiple,
            requeue,
        } => basic::AMQPMethod::Nack(basic::Nack {
            delivery_tag,
            multiple,
            requeue,
        }),
        Hot::Reject {
            delivery_tag,
            requeue,
        } => basic::AMQPMethod::Reject(basic::Reject {
            delivery_tag,
            requeue,
        }),
        Hot::Other(method) => return method,
    })
}

proptest! {
    #[test]
    fn methods_are_read_back_as_written(method in method()) {
        let payload = payload(&method);
        prop_assert_eq!(decode_method(&payload), Ok(method.clone()));
        prop_assert_eq!(decode_hot(&payload).map(hot_as_method), Ok(method));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), like in method_like()) {
        for payload in [&bytes, &like] {
            let plain = decode_method(payload);
            prop_assert_eq!(decode_hot(payload).map(hot_as_method), plain);
        }
    }

    #[test]
    fn a_cut_payload_is_malformed(method in method(), keep in 0.0..1.0f64) {
        let payload = payload(&method);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of a small length")]
        let keep = (payload.len() as f64 * keep) as usize;
        prop_assert!(decode_method(&payload[..keep]).is_err());
        prop_assert!(decode_hot(&payload[..keep]).is_err());
    }

    #[test]
    fn hand_written_frames_equal_those_of_the_generator(
        names in (short_string(), short_string(), short_string()),
        tag in any::<u64>(), flags in any::<(bool, bool)>(), count in any::<u32>(), channel in any::<u16>(),
    ) {
        let (consumer_tag, exchange, routing_key) = names;
        let (c, e, r) = (consumer_tag.to_string(), exchange.to_string(), routing_key.to_string());
        let (redelivered, multiple) = flags;
        let mut ours = BytesMut::new();
        let mut theirs = BytesMut::new();
        let mut write = |method| encode_method(&mut theirs, channel, &AMQPClass::Basic(method));

        put_deliver(&mut ours, channel, &c, tag, redelivered, &e, &r);
        write(basic::AMQPMethod::Deliver(basic::Deliver {
            consumer_tag, delivery_tag: tag, redelivered, exchange: exchange.clone(), routing_key: routing_key.clone(),
        }));
        put_publish(&mut ours, channel, &e, &r, redelivered);
        write(basic::AMQPMethod::Publish(basic::Publish {
            exchange: exchange.clone(), routing_key: routing_key.clone(), mandatory: redelivered, immediate: false,
        }));
        put_get_ok(&mut ours, channel, tag, redelivered, &e, &r, count);
        write(basic::AMQPMethod::GetOk(basic::GetOk {
            delivery_tag: tag, redelivered, exchange: exchange.clone(), routing_key: routing_key.clone(), message_count: count,
        }));
        put_return(&mut ours, channel, 312, "NO_ROUTE", &e, &r);
        write(basic::AMQPMethod::Return(basic::Return {
            reply_code: 312, reply_text: "NO_ROUTE".into(), exchange, routing_key,
        }));
        put_ack(&mut ours, channel, tag, multiple);
        write(basic::AMQPMethod::Ack(basic::Ack { delivery_tag: tag, multiple }));
        put_nack(&mut ours, channel, tag, multiple, redelivered);
        write(basic::AMQPMethod::Nack(basic::Nack { delivery_tag: tag, multiple, requeue: redelivered }));
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn names_that_are_too_long_do_not_tear_the_frame() {
    let mut out = BytesMut::new();
    put_deliver(
        &mut out,
        1,
        &"t".repeat(300),
        1,
        false,
        &"é".repeat(200),
        "k",
    );
    let frame = split(&mut out, FRAME_MAX)
        .expect("well formed")
        .expect("whole");
    let Ok(AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver))) = decode_method(&frame.payload)
    else {
        panic!("not a deliver");
    };
    assert_eq!(deliver.consumer_tag.as_str().len(), 255);
    assert_eq!(deliver.exchange.as_str(), "é".repeat(127));
    assert!(out.is_empty());
}

#[test]
fn deliveries_and_confirms_are_read_without_the_general_parser() {
    let frame = |write: &dyn Fn(&mut BytesMut)| {
        let mut out = BytesMut::new();
        write(&mut out);
        split(&mut out, FRAME_MAX).unwrap().unwrap().payload
    };
    let delivered = frame(&|out| put_deliver(out, 1, "tag", 7, true, "x", "key"));
    let expected = DeliverView {
        consumer_tag: "tag",
        delivery_tag: 7,
        redelivered: true,
        exchange: "x",
        routing_key: "key",
    };
    assert_eq!(
        decode_from_broker(&delivered),
        Ok(FromBroker::Deliver(expected))
    );
    let acked = frame(&|out| put_ack(out, 1, 9, true));
    let expected = FromBroker::Ack {
        delivery_tag: 9,
        multiple: true,
    };
    assert_eq!(decode_from_broker(&acked), Ok(expected));
    let nacked = frame(&|out| put_nack(out, 1, 10, false, true));
    let expected = FromBroker::Nack {
        delivery_tag: 10,
        multiple: false,
    };
    assert_eq!(decode_from_broker(&nacked), Ok(expected));
    for cut in 4..delivered.len() {
        let error = decode_from_broker(&delivered[..cut]).unwrap_err();
        assert!(matches!(
            error,
            MethodError::Malformed {
                fault: Fault::Truncated,
                ..
            }
        ));
    }
}
