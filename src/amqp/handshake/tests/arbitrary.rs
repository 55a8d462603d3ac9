//! Handshakes with arbitrary input.

use proptest::prelude::*;

use super::*;

/// Parts of a conversation, in and out of order.
fn client_bytes() -> impl Strategy<Value = Vec<u8>> {
    let method = |says: ClientBytes| Just(says.0.to_vec());
    prop_oneof![
        4 => method(ClientBytes::default().login()),
        4 => (0u16..3000, 0u32..140_000, any::<u16>()).prop_map(|(c, f, h)| ClientBytes::default().tune_ok(c, f, h).0.to_vec()),
        4 => method(ClientBytes::default().tune_ok(10, 4096, 0)),
        4 => method(ClientBytes::default().open("/")),
        1 => method(ClientBytes::default().raw(&HEARTBEAT)),
        1 => method(ClientBytes::default().raw(HEADER)),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
        1 => (proptest::collection::vec(any::<u8>(), 0..30), any::<u16>(), 0u8..9).prop_map(|(payload, channel, octet)| {
            let mut frame = vec![octet];
            frame.extend(channel.to_be_bytes());
            frame.extend(u32::try_from(payload.len()).expect("small").to_be_bytes());
            frame.extend(payload);
            frame.push(FRAME_END);
            frame
        }),
        1 => (any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20)).prop_map(|(class, method, rest)| {
            let payload = [&[0, class % 100, 0, method % 130][..], &rest].concat();
            ClientBytes::default().frame(FrameKind::Method, 0, &payload).0.to_vec()
        }),
    ]
}

proptest! {
    #[test]
    fn any_conversation_ends_the_same_however_it_is_cut(
        parts in proptest::collection::vec(client_bytes(), 0..6),
        piece in 1usize..50,
        login in any::<bool>(),
    ) {
        let mut input = ClientBytes::header();
        parts.iter().for_each(|part| input.0.put_slice(part));
        let caller = CallerAnswers { login, ..WILLING };
        let (whole, out_whole, unread_whole) = run(&input, usize::MAX, &caller);
        let (cut, out_cut, unread_cut) = run(&input, piece, &caller);
        prop_assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
        prop_assert_eq!(&out_whole, &out_cut);
        prop_assert_eq!(unread_whole, unread_cut);
        let replies = replies(out_whole);
        prop_assert_eq!(replies.first().map(String::as_str), Some("start"));
        prop_assert_eq!(replies.iter().any(|name| name == "open-ok"), matches!(whole, Outcome::Open(_)));
        if !login {
            prop_assert!(!matches!(whole, Outcome::Open(_)));
        }
    }

    #[test]
    fn arbitrary_bytes_never_get_in(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1usize..20) {
        let (outcome, _, _) = run(&ClientBytes::default().raw(&bytes), piece, &WILLING);
        prop_assert!(!matches!(outcome, Outcome::Open(_)));
    }
}
