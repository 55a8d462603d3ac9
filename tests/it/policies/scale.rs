//! A policy that matches very many queues: how long it takes, and that messages go on meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use leveret::model::policy::PolicyKind;
use serde_json::json;

use super::{draft, vhost};
use crate::support::{Peer, TestServer, socketless, table};

const QUEUES: usize = 10_000;
/// Far longer than it takes, so that a busy machine is no failure.
const LONGEST: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_for_ten_thousand_queues_applies_while_messages_go_on() {
    let server = TestServer::start().await;
    let mut tasks = tokio::task::JoinSet::new();
    for part in 0..8 {
        let broker = Arc::clone(&server.broker);
        tasks.spawn(async move {
            for number in (part..QUEUES).step_by(8) {
                socketless::declare(&broker, &format!("q{number}"), table(&[])).await;
            }
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.unwrap();
    }
    let vhost = vhost(&server);
    // Policies that match nothing are tried for each queue.
    for number in 0..20 {
        let name = format!("other{number}");
        let other = draft(&name, "^(x|y)[a-z]+$", json!({"max-length": 1}));
        vhost.set_policy(PolicyKind::User, other).await.unwrap();
    }
    let done = Arc::<AtomicBool>::default();
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "other").await;
    peer.confirm_select(1).await;
    let publishing = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            let mut longest = Duration::ZERO;
            let mut confirms = 0;
            while !done.load(Ordering::Relaxed) {
                let began = Instant::now();
                peer.publish(1, "other", b"m").await;
                peer.method().await;
                longest = longest.max(began.elapsed());
                confirms += 1;
            }
            (confirms, longest)
        }
    });
    let all = draft("all", "^q", json!({"max-length": 5, "message-ttl": 60_000}));
    let began = Instant::now();
    vhost.set_policy(PolicyKind::User, all).await.unwrap();
    let set = began.elapsed();
    let has_policy = |queue: &Arc<leveret::broker::queue::Queue>| {
        queue.policy_name().as_deref() == Some("all") && queue.arguments().max_length == Some(5)
    };
    let queues = vhost.queues();
    let with = queues.iter().filter(|queue| has_policy(queue)).count();
    assert_eq!(with, QUEUES);
    let began = Instant::now();
    vhost.clear_policy(PolicyKind::User, "all").await.unwrap();
    let cleared = began.elapsed();
    assert!(
        vhost
            .queues()
            .iter()
            .all(|queue| queue.policies().is_empty())
    );
    done.store(true, Ordering::Relaxed);
    let (confirms, longest) = publishing.await.unwrap();
    println!(
        "{QUEUES} queues: set in {set:?}, cleared in {cleared:?}; meanwhile {confirms} confirms, the longest after \
         {longest:?}"
    );
    assert!(set < LONGEST && cleared < LONGEST, "{set:?} {cleared:?}");
    assert!(confirms > 1, "messages waited for the policy");
}
