//! Checks that splitting a stream frame by frame and as a batch gives the same frames and the same rest.
#![no_main]

use bytes::BytesMut;
use leveret::wire::{FrameKind, Frames, PropertiesView, decode_header, split};
use libfuzzer_sys::fuzz_target;

const FRAME_MAX: u32 = 4096;

fuzz_target!(|data: &[u8]| {
    let mut one = BytesMut::from(data);
    let mut by_one = Vec::new();
    loop {
        match split(&mut one, FRAME_MAX) {
            Ok(Some(frame)) => by_one.push(Ok(frame)),
            Ok(None) => break,
            Err(error) => {
                let in_step = error.in_step();
                by_one.push(Err(error));
                if !in_step {
                    break;
                }
            }
        }
    }
    let mut all = BytesMut::from(data);
    let batch: Vec<_> = Frames::take(&mut all, FRAME_MAX).collect();
    assert_eq!(by_one, batch);
    assert_eq!(one, all);
    for frame in batch
        .into_iter()
        .flatten()
        .filter(|frame| frame.kind == FrameKind::Header)
    {
        if let Ok(header) = decode_header(frame.payload)
            && let Ok(view) = PropertiesView::parse(&header.properties)
        {
            assert_eq!(view.check_headers().is_ok(), view.headers().is_ok());
        }
    }
});
