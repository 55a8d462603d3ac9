//! Those who guess passwords wait for each attempt, and others do not.

use std::time::{Duration, Instant};

use crate::management::Client;
use crate::support::TestServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_come_slower_and_slower() {
    let server = TestServer::start().await;
    let mut took = Vec::new();
    for n in 0..8 {
        let mut guesser = Client::of(&server, "ann", &format!("guess {n}"));
        let begun = Instant::now();
        assert_eq!(guesser.get("/api/whoami").await.status, 401);
        took.push(begun.elapsed());
    }
    // Five failures are free; then 100, 200 and 400 ms.
    assert!(took[7] >= Duration::from_millis(400), "{took:?}");
    let begun = Instant::now();
    assert_eq!(Client::guest(&server).get("/api/whoami").await.status, 200);
    assert_eq!(Client::guest(&server).get("/api/whoami").await.status, 200);
    assert!(
        begun.elapsed() < took.iter().sum::<Duration>(),
        "guest does not wait"
    );
}
