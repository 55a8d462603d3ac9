//! The process is killed with SIGKILL while it pushes messages to an HTTP endpoint, and while messages wait for their next
//! attempt because the endpoint is down. Each message whose publish was answered is posted in the end.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::cmq::Client;
use crate::endpoint::{Endpoint, Port, Reply};
use crate::process::{Broker, PROGRAM};

const CYCLES: u64 = 6;
/// Messages per cycle, so that a slow machine publishes enough.
const PUBLISHED_MIN: usize = 30;
const TOPIC: (&str, &str) = ("topicName", "t");
const KEY: (&str, &str) = ("AKIDcrash", "a key");
/// A push that a kill interrupts is repeated when its lease is over, 15 seconds later.
const PATIENCE: Duration = Duration::from_secs(120);

fn start(dir: &Path) -> Broker {
    let mut command = Command::new(PROGRAM);
    command
        .env("LEVERET_CMQ_PUSH_ALLOW", "127.0.0.0/8")
        .env("LEVERET_CMQ_PUSH_SECOND", "20")
        .env("LEVERET_CMQ_PUSH_TIMEOUT", "500");
    Broker::start_with_cmq(&mut command, dir)
}

async fn client(broker: &Broker) -> Client {
    let address = broker.cmq.expect("a CMQ listener");
    Client::connect(address, (KEY.0.to_owned(), KEY.1.to_owned())).await
}

/// Creates the key, the topic and the subscription.
async fn prepare(broker: &Broker, dir: &Path, endpoint: SocketAddr) {
    let ctl = Command::new(PROGRAM)
        .arg("ctl")
        .args(["add_secret_key", "guest", KEY.0, KEY.1])
        .env("LEVERET_DATA_DIR", dir)
        .output()
        .expect("ctl runs");
    assert!(ctl.status.success(), "{ctl:?}");
    let mut client = client(broker).await;
    client.ok("CreateTopic", &[TOPIC]).await;
    let url = format!("http://{endpoint}/");
    let subscription = [
        TOPIC,
        ("subscriptionName", "s"),
        ("protocol", "http"),
        ("endpoint", &url),
        ("notifyStrategy", "EXPONENTIAL_DECAY_RETRY"),
        ("notifyContentFormat", "SIMPLIFIED"),
    ];
    client.ok("Subscribe", &subscription).await;
}

/// Publishes during `pause`, at least [`PUBLISHED_MIN`] messages; returns the bodies whose publish was answered. Each begins with `prefix`.
async fn publish(broker: &Broker, prefix: &str, pause: Duration) -> Vec<String> {
    let mut client = client(broker).await;
    let (begun, mut answered) = (Instant::now(), Vec::new());
    while begun.elapsed() < pause || answered.len() < PUBLISHED_MIN {
        let body = format!("{prefix}.{}", answered.len());
        client
            .ok("PublishMessage", &[TOPIC, ("msgBody", &body)])
            .await;
        answered.push(body);
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_pushes_survive_kills() {
    let dir = tempfile::tempdir().expect("a directory");
    // Nothing listens on this port until an endpoint starts.
    let port = Port::reserve();
    let (mut answered, mut posted) = (Vec::new(), HashSet::new());
    for cycle in 0..CYCLES {
        let broker = start(dir.path());
        if cycle == 0 {
            prepare(&broker, dir.path(), port.address()).await;
        }
        // In every third cycle the endpoint runs and refuses half of the pushes.
        let endpoint = match cycle % 3 {
            1 => Some(port.start(|posted| refuses_odd(&posted.body))),
            _ => None,
        };
        let pause = Duration::from_millis(StdRng::seed_from_u64(cycle).random_range(100..600));
        answered.extend(publish(&broker, &cycle.to_string(), pause).await);
        broker.kill();
        // A refused push does not count as posted.
        let taken = endpoint.iter().flat_map(Endpoint::bodies);
        posted.extend(taken.filter(|body| !is_odd(body)));
    }
    assert!(answered.len() > 100, "{} answered", answered.len());
    let missing = |posted: &HashSet<String>| {
        let missing = answered.iter().filter(|body| !posted.contains(*body));
        missing.count()
    };
    assert!(missing(&posted) > 100, "{} are pending", missing(&posted));

    let broker = start(dir.path());
    let endpoint = port.start(|_| Reply::status(200));
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && missing(&posted) > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        posted.extend(endpoint.bodies());
    }
    assert_eq!(
        missing(&posted),
        0,
        "messages of {} were never posted",
        answered.len()
    );
    let mut client = client(&broker).await;
    while client.ok("GetTopicAttributes", &[TOPIC]).await["msgCount"] != 0 {
        assert!(
            begun.elapsed() < PATIENCE,
            "messages stay in the topic after their push"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    broker.kill();
    println!("{CYCLES} kills, {} messages pushed", answered.len());
}

fn is_odd(body: &str) -> bool {
    body.ends_with(['1', '3', '5', '7', '9'])
}

fn refuses_odd(body: &str) -> Reply {
    Reply::status(if is_odd(body) { 500 } else { 200 })
}
