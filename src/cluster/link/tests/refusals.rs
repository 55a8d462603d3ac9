//! Nodes that do not belong together refuse each other, with a reason.

use super::super::Refused;
use super::*;

/// Why a call from one node to the other fails.
async fn refusal(from: Given, to: Given) -> LinkError {
    let (from, to) = (Node::start(from), Node::start(to));
    let peer = Peer {
        node: None,
        ..to.peer()
    };
    let answer = from.links.call(&peer, Lane::Raft, ECHO, vec![], LONG).await;
    let stream = from.links.open(&peer, 7, Bytes::new()).await;
    assert!(stream.is_err());
    assert!(to.echo.callers.lock().is_empty());
    answer.expect_err("a refusal")
}

async fn refused(from: Given, to: Given) -> Refused {
    match refusal(from, to).await {
        LinkError::Refused { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nodes_with_different_secrets_refuse_each_other() {
    let other = Given {
        trust: by_secret(b"another secret of a node"),
        ..given(2)
    };
    assert_eq!(refused(given(1), other).await, Refused::Secret);
}

#[tokio::test]
async fn nodes_of_different_sets_refuse_each_other_and_a_node_without_one_does_not() {
    let of_set = |node, set| Given { set, ..given(node) };
    let why = refused(of_set(1, Some(10)), of_set(2, Some(20))).await;
    assert_eq!(why, Refused::Set);
    for (from, to) in [(None, Some(10)), (Some(10), None), (Some(10), Some(10))] {
        let (a, b) = (Node::start(of_set(1, from)), Node::start(of_set(2, to)));
        let answer = a.call(&b, Lane::Control, ECHO, Bytes::new()).await;
        assert!(answer.is_ok(), "{answer:?}");
        assert_eq!(b.echo.callers.lock()[0].set, from);
    }
}

#[tokio::test]
async fn a_node_learns_its_set_while_it_runs() {
    let (a, b) = (Node::start(given(1)), Node::start(given(2)));
    a.links.belong_to(10);
    b.links.belong_to(20);
    let answer = a.call(&b, Lane::Control, ECHO, Bytes::new()).await;
    let Err(LinkError::Refused { why, .. }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(why, Refused::Set);
}

#[tokio::test]
async fn a_copied_data_directory_is_noticed() {
    assert_eq!(refused(given(1), given(1)).await, Refused::OwnId);
}

#[tokio::test]
async fn clocks_that_are_apart_are_noticed_in_both_directions() {
    for set_ms in [3_000, -3_000] {
        let clock = Settable::default();
        clock.set_wall_ahead_ms(set_ms);
        let set = Given {
            clock: Arc::new(clock),
            ..given(1)
        };
        let why = refused(set, given(2)).await;
        let Refused::ClocksApart { ahead_ms } = why else {
            panic!("{why:?}");
        };
        // The wait for the other's account is its allowance.
        assert!((2_000..=3_000).contains(&ahead_ms.abs()), "{ahead_ms}");
        assert_eq!(ahead_ms.signum(), set_ms.signum());
    }
    let clock = Settable::default();
    clock.set_wall_ahead_ms(900);
    let near = Given {
        clock: Arc::new(clock),
        ..given(1)
    };
    let (a, b) = (Node::start(near), Node::start(given(2)));
    let answer = a.call(&b, Lane::Raft, ECHO, Bytes::new()).await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test]
async fn a_clock_that_goes_wrong_ends_the_lanes_until_it_is_right_again() {
    let clock = Arc::new(Settable::default());
    let steps = Given {
        clock: Arc::clone(&clock) as Arc<dyn Source>,
        ..given(1)
    };
    let (a, b) = (Node::start(steps), Node::start(given(2)));
    let compare = || {
        let (asked_ms, address) = (b.links.wall_ms(), a.peer().address);
        b.links
            .compare_clocks(&address, a.links.wall_ms(), asked_ms);
    };
    for (ahead_ms, agree) in [(0, true), (900, true), (-3_000, false), (0, true)] {
        clock.set_wall_ahead_ms(ahead_ms);
        compare();
        let answers = async || b.call(&a, Lane::Control, ECHO, Bytes::new()).await;
        let deadline = tokio::time::Instant::now() + LONG;
        let answer = loop {
            let answer = answers().await;
            // Shortly after a failure it fails again without an attempt.
            if answer.is_ok() == agree || tokio::time::Instant::now() > deadline {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        match answer {
            Ok(_) => assert!(agree, "{ahead_ms}"),
            Err(LinkError::Refused { why, .. }) => {
                assert!(
                    !agree && matches!(why, Refused::ClocksApart { .. }),
                    "{why}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn releases_speak_the_newest_version_in_common() {
    let speaking = |node, oldest, newest| Given {
        versions: Versions { oldest, newest },
        ..given(node)
    };
    let cases = [
        ((1, 3), (2, 5), 3),
        ((2, 5), (1, 3), 3),
        ((1, 1), (1, 9), 1),
    ];
    for (from, to, common) in cases {
        let a = Node::start(speaking(1, from.0, from.1));
        let b = Node::start(speaking(2, to.0, to.1));
        let answer = a.call(&b, Lane::Raft, ECHO, Bytes::new()).await;
        assert!(answer.is_ok(), "{answer:?}");
        assert_eq!(b.echo.callers.lock()[0].version, common);
    }
    for (from, to) in [((1, 2), (3, 4)), ((3, 4), (1, 2))] {
        let from = speaking(1, from.0, from.1);
        let why = refusal(from, speaking(2, to.0, to.1)).await;
        let LinkError::Stranger { why, .. } = why else {
            panic!("{why:?}");
        };
        let said = format!("it speaks versions {} to {} of links", to.0, to.1);
        assert!(why.starts_with(&said), "{why}");
    }
}

#[test]
fn a_link_without_proof_is_not_configured() {
    use super::super::NoTrust;
    assert_eq!(Trust::new(None, None).unwrap_err(), NoTrust::Nothing);
    assert_eq!(Secret::new(b"too short").unwrap_err(), NoTrust::ShortSecret);
}
