//! Checks that no input makes the handshake panic or open a connection without a granted login.
#![no_main]

use std::sync::Arc;

use bytes::BytesMut;
use leveret::amqp::handshake::{Handshake, Settings, Step};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let cluster_name = "fuzz".to_owned();
    let settings = Settings {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 60,
        cluster_name,
    };
    let (mut input, mut out) = (BytesMut::from(data), BytesMut::new());
    let mut handshake = Handshake::new(Arc::new(settings));
    let mut logged_in = false;
    loop {
        handshake = match handshake.advance(&mut input, &mut out) {
            Step::Login(credentials, login) => {
                logged_in = credentials.password.len() > 1;
                if !logged_in {
                    login.refused(&mut out);
                    break;
                }
                login.accepted(&mut out)
            }
            Step::Vhost(_, vhost) => {
                assert!(logged_in);
                let open = vhost.granted(&mut out);
                assert!(
                    (4096..=131_072).contains(&open.frame_max)
                        && (1..=2047).contains(&open.channel_max)
                );
                break;
            }
            Step::Read(_) | Step::End(_) => break,
        };
    }
});
