//! The values of `tune-ok`.

use super::*;

#[test]
fn tune_ok_must_stay_within_the_offer() {
    let good = [
        (1, 4096, 0),
        (2047, 131_072, 60),
        (2047, 131_072, 65_535),
        (2, 4097, 1),
    ];
    for (channel_max, frame_max, heartbeat) in good {
        let input = ClientBytes::header()
            .login()
            .tune_ok(channel_max, frame_max, heartbeat)
            .open("/");
        let (outcome, _, _) = run(&input, usize::MAX, &WILLING);
        let Outcome::Open(open) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            (open.channel_max, open.frame_max, open.heartbeat),
            (channel_max, frame_max, heartbeat)
        );
    }
    let bad = [
        (
            0,
            131_072,
            "negotiated channel_max = 0 is higher than the maximum allowed value (2047)",
        ),
        (
            2048,
            131_072,
            "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)",
        ),
        (
            2047,
            0,
            "negotiated frame_max = 0 is higher than the maximum allowed value (131072)",
        ),
        (
            2047,
            131_073,
            "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
        ),
        (
            2047,
            4095,
            "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)",
        ),
    ];
    for (channel_max, frame_max, text) in bad {
        let input = ClientBytes::header()
            .login()
            .tune_ok(channel_max, frame_max, 0)
            .open("/");
        let (outcome, out, _) = run(&input, usize::MAX, &WILLING);
        let Outcome::Rejected(rejection) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            (rejection.error.to_string().as_str(), rejection.hangup),
            (text, Hangup::After(SILENT_CLOSE_DELAY))
        );
        assert_eq!(replies(out), ["start", "tune"]);
    }
}
