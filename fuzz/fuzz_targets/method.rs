//! Checks that a method stays the same when it is written and read again, and that both readers agree.
#![no_main]

use bytes::BytesMut;
use leveret::wire::{Hot, decode_hot, decode_method, encode_method, split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let method = decode_method(data);
    match decode_hot(data) {
        Ok(Hot::Other(other)) => assert_eq!(
            format!("{:?}", Ok::<_, ()>(other)),
            format!("{:?}", method.as_ref().map_err(drop))
        ),
        Ok(_) => assert!(method.is_ok()),
        Err(error) => assert_eq!(Some(error), method.clone().err()),
    }
    if let Ok(method) = method {
        let mut out = BytesMut::new();
        encode_method(&mut out, 1, &method);
        let frame = split(&mut out, u32::MAX)
            .expect("well formed")
            .expect("whole");
        let again = decode_method(&frame.payload).expect("what was written can be read");
        // Compares texts, since a NaN does not equal itself.
        assert_eq!(format!("{again:?}"), format!("{method:?}"));
    }
});
