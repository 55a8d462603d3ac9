//! Moves of messages from queue to queue, on a store that loses power at its n-th commit or sync, for every n: each message
//! is in exactly one of the queues, and a move that was answered has happened.

use std::collections::BTreeSet;
use std::sync::Arc;

use leveret::broker::session::Session;
use leveret::store::faulty::FaultyStore;

use crate::power_loss::{
    at_each_power_loss, drain, flush, message, open, prepare, queue, until_power_goes,
};

/// More than the messages of two steps.
const MESSAGES: u64 = 600;
/// More commits and syncs than the work needs.
const CALLS_MAX: u64 = 16;

/// What a client knows at the end.
struct Known {
    is_published: bool,
    is_moved: bool,
}

async fn publish_and_move(store: &Arc<FaultyStore>) -> Known {
    let broker = open(store.clone()).await;
    let run: Vec<_> = (0..MESSAGES).map(message).collect();
    queue(&broker, "other").publish(&run);
    let is_published = flush(broker.committer(), store).await;
    let vhost = broker.vhost("/").expect("the default virtual host");
    let guest = broker.users().get("guest").expect("the default user");
    let guest = Arc::new(guest.logged_in());
    let session = Session::new(broker.clone(), vhost, guest, broker.next_connection());
    let is_moved = tokio::select! {
        moved = session.move_messages("other", "quorum") => {
            moved.is_ok_and(|moved| moved.messages == MESSAGES)
        }
        () = until_power_goes(store) => false,
    };
    broker.committer().shutdown();
    Known {
        is_published,
        is_moved,
    }
}

async fn check_survivor(survivor: FaultyStore, known: &Known, what: &str) {
    let broker = open(Arc::new(survivor)).await;
    let left = drain(&queue(&broker, "other")).await;
    let moved = drain(&queue(&broker, "quorum")).await;
    assert!(left.is_sorted() && moved.is_sorted(), "{what}: order");
    let all: BTreeSet<u64> = left.iter().chain(&moved).copied().collect();
    assert_eq!(all.len(), left.len() + moved.len(), "{what}: twice");
    if known.is_published {
        assert_eq!(all.len() as u64, MESSAGES, "{what}: lost");
    }
    if known.is_moved {
        assert_eq!(left, [0; 0], "{what}: moved back");
    }
    broker.committer().shutdown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_loss_leaves_each_moved_message_in_one_queue() {
    let base = prepare().await;
    let reached = at_each_power_loss(&base, CALLS_MAX, publish_and_move, check_survivor).await;
    assert!(reached.len() > 8, "the power went at {reached:?} only");
    assert!(
        (reached.len() as u64) < 4 * CALLS_MAX,
        "the work was never done"
    );
}
