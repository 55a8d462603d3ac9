//! Splitting frames off a stream.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use crate::wire::{
    FRAME_END, FRAME_OVERHEAD, Frame, FrameError, FrameKind, Frames, HEARTBEAT, put_frame_header,
    split,
};

const FRAME_MAX: u32 = 4096;

fn raw(octet: u8, channel: u16, payload: &[u8], end: u8) -> Vec<u8> {
    let mut out = vec![octet];
    out.extend(channel.to_be_bytes());
    out.extend(u32::try_from(payload.len()).expect("small").to_be_bytes());
    out.extend(payload);
    out.push(end);
    out
}

fn put(out: &mut BytesMut, frame: &Frame) {
    put_frame_header(out, frame.kind, frame.channel, frame.payload.len());
    out.put_slice(&frame.payload);
    out.put_u8(FRAME_END);
}

#[test]
fn every_kind_of_frame_is_split_off() {
    let cases = [
        (FrameKind::Method, 1, &b"\0\x0a\0\x0b"[..]),
        (FrameKind::Header, u16::MAX, &[0; 12][..]),
        (FrameKind::Body, 7, &[0xCE; 4096][..]),
        (FrameKind::Body, 7, b""),
        (FrameKind::Heartbeat, 0, b""),
    ];
    for (kind, channel, payload) in cases {
        let mut buf = BytesMut::from(&raw(kind.octet(), channel, payload, FRAME_END)[..]);
        buf.put_slice(b"next");
        let expected = Frame {
            kind,
            channel,
            payload: Bytes::copy_from_slice(payload),
        };
        assert_eq!(split(&mut buf, FRAME_MAX), Ok(Some(expected)));
        assert_eq!(&buf[..], b"next");
    }
    assert_eq!(HEARTBEAT.to_vec(), raw(8, 0, b"", FRAME_END));
}

#[test]
fn errors_have_rabbitmqs_texts() {
    let too_large = [1, 0, 1, 0, 0, 0x10, 1];
    let cases: &[(&[u8], &str, bool)] = &[
        (
            &too_large,
            "type 1, all octets = <<>>: {frame_too_large,4097,4088}",
            false,
        ),
        (
            &raw(5, 0, b"", FRAME_END),
            "type 5, all octets = <<>>: unknown_frame",
            true,
        ),
        (
            &raw(1, 0, b"abc", FRAME_END),
            "type 1, all octets = <<\"abc\">>: unknown_frame",
            true,
        ),
        (
            &raw(2, 3, &[0; 11], FRAME_END),
            "type 2, all octets = <<0,0,0,0,0,0,0,0,0,0,0>>: unknown_frame",
            true,
        ),
        (
            &raw(8, 0, b"x", FRAME_END),
            "type 8, all octets = <<\"x\">>: unknown_frame",
            true,
        ),
        (
            &raw(3, 1, b"abcdefghijklmnopq", 0),
            "type 3, first 16 octets = <<\"abcdefghijklmnop\">>: {invalid_frame_end_marker,0}",
            false,
        ),
        (
            &raw(3, 1, b"0123456789abcdef", 9),
            "type 3, all octets = <<\"0123456789abcdef\">>: {invalid_frame_end_marker,9}",
            false,
        ),
    ];
    for (bytes, text, in_step) in cases {
        let mut buf = BytesMut::from(*bytes);
        let error = split(&mut buf, FRAME_MAX).expect_err(text);
        assert_eq!(error.to_string(), *text);
        assert_eq!(error.in_step(), *in_step);
        assert_eq!(
            buf.is_empty(),
            *in_step,
            "a frame in step is consumed: {text}"
        );

        let mut buf = BytesMut::from(*bytes);
        let mut frames = Frames::take(&mut buf, FRAME_MAX);
        assert_eq!(frames.next(), Some(Err(error)));
        assert_eq!(frames.next(), None);
    }
}

#[test]
fn a_long_text_is_broken_as_erlang_breaks_it() {
    let payload = [
        0, 40, 0, 10, 0, 0, 10, 97, 109, 113, 46, 100, 105, 114, 101, 99, 116,
    ];
    let mut buf = BytesMut::from(&raw(1, 1, &payload, 205)[..]);
    let error = split(&mut buf, FRAME_MAX).expect_err("bad end");
    let expected = format!(
        "type 1, first 16 octets = <<0,40,0,10,0,0,10,97,109,113,46,100,105,114,101,99>>: \
         {{invalid_frame_end_marker,\n{}205}}",
        " ".repeat(82)
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn frames_after_an_unknown_frame_are_read() {
    let mut buf = BytesMut::new();
    buf.put_slice(&HEARTBEAT);
    buf.put_slice(&raw(9, 4, b"?", FRAME_END));
    buf.put_slice(&HEARTBEAT);
    let mut frames = Frames::take(&mut buf, FRAME_MAX);
    assert!(matches!(
        frames.next(),
        Some(Ok(Frame {
            kind: FrameKind::Heartbeat,
            ..
        }))
    ));
    assert!(matches!(
        frames.next(),
        Some(Err(FrameError::Unknown {
            octet: 9,
            channel: 4,
            ..
        }))
    ));
    assert!(matches!(
        frames.next(),
        Some(Ok(Frame {
            kind: FrameKind::Heartbeat,
            ..
        }))
    ));
    assert!(frames.is_empty());
}

#[test]
fn frames_before_a_broken_one_are_delivered() {
    let mut buf = BytesMut::new();
    buf.put_slice(&HEARTBEAT);
    buf.put_slice(&raw(3, 1, b"x", 0));
    let mut frames = Frames::take(&mut buf, FRAME_MAX);
    assert!(matches!(frames.next(), Some(Ok(_))));
    assert!(!frames.is_empty());
    assert!(matches!(
        frames.next(),
        Some(Err(FrameError::BadEnd { end: 0, .. }))
    ));
    assert!(frames.is_empty());
}

#[test]
fn a_declared_size_alone_reserves_little_memory() {
    let frame_max = 1 << 30;
    let mut buf = BytesMut::from(&[3, 0, 1, 0x3f, 0xff, 0xff, 0xff][..]);
    assert_eq!(split(&mut buf, frame_max), Ok(None));
    assert!(buf.capacity() <= 8192, "{}", buf.capacity());
    assert!(Frames::take(&mut buf, frame_max).is_empty());
    assert!(buf.capacity() <= 8192, "{}", buf.capacity());
}

fn frame() -> impl Strategy<Value = Frame> {
    let payload =
        |min: usize| proptest::collection::vec(any::<u8>(), min..80).prop_map(Bytes::from);
    let kind_and_payload = prop_oneof![
        payload(4).prop_map(|payload| (FrameKind::Method, payload)),
        payload(12).prop_map(|payload| (FrameKind::Header, payload)),
        payload(0).prop_map(|payload| (FrameKind::Body, payload)),
        Just((FrameKind::Heartbeat, Bytes::new())),
    ];
    (kind_and_payload, any::<u16>()).prop_map(|((kind, payload), channel)| Frame {
        kind,
        channel,
        payload,
    })
}

proptest! {
    #[test]
    fn frames_are_the_same_however_the_stream_is_cut(
        frames in proptest::collection::vec(frame(), 0..8),
        cuts in proptest::collection::vec(1usize..60, 0..40),
        batch in any::<bool>(),
    ) {
        let mut stream = BytesMut::new();
        frames.iter().for_each(|frame| put(&mut stream, frame));
        let mut cuts = cuts.into_iter();
        let mut buf = BytesMut::new();
        let mut seen = Vec::new();
        while !stream.is_empty() {
            let piece = stream.split_to(cuts.next().unwrap_or(usize::MAX).min(stream.len()));
            buf.extend_from_slice(&piece);
            if batch {
                seen.extend(Frames::take(&mut buf, FRAME_MAX).map(|frame| frame.expect("valid")));
            } else {
                while let Some(frame) = split(&mut buf, FRAME_MAX).expect("valid") {
                    seen.push(frame);
                }
            }
        }
        prop_assert_eq!(seen, frames);
        prop_assert!(buf.is_empty());
    }

    #[test]
    fn arbitrary_bytes_split_the_same_both_ways(bytes in proptest::collection::vec(any::<u8>(), 0..300), small in any::<bool>()) {
        // Small sizes make arbitrary headers plausible more often.
        let bytes: Vec<u8> = if small { bytes.iter().map(|byte| if *byte < 220 { byte % 9 } else { FRAME_END }).collect() } else { bytes };
        let mut one = BytesMut::from(&bytes[..]);
        let mut by_one = Vec::new();
        loop {
            match split(&mut one, FRAME_MAX) {
                Ok(Some(frame)) => by_one.push(Ok(frame)),
                Ok(None) => break,
                Err(error) => {
                    let in_step = error.in_step();
                    by_one.push(Err(error));
                    if !in_step { break; }
                }
            }
        }
        let mut all = BytesMut::from(&bytes[..]);
        let by_batch: Vec<_> = Frames::take(&mut all, FRAME_MAX).collect();
        prop_assert_eq!(&by_one, &by_batch);
        prop_assert_eq!(&one, &all);
        prop_assert!(one.capacity() <= bytes.len() * 2 + 4096 + FRAME_OVERHEAD);
    }
}
