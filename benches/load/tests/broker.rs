//! The load generator against a broker that runs in this process.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use leveret::cli::{self, Command as Leveret};
use leveret::server::{RunningServer, Server};
use serde_json::Value;
use tempfile::TempDir;

/// How late a message may come here, where the machine may be busy. Leveret promises 50 ms.
const LATE: Duration = Duration::from_secs(5);

struct TestBroker {
    server: RunningServer,
    _data: TempDir,
}

impl TestBroker {
    async fn start() -> TestBroker {
        let data = tempfile::tempdir().expect("a directory");
        let mut words: Vec<OsString> = vec!["leveret".into(), "--data-dir".into()];
        words.push(data.path().into());
        words.extend(["--amqp-listen", "127.0.0.1:0", "--cmq-listen", "none"].map(Into::into));
        let any = "127.0.0.1:0";
        words.extend(["--management-listen", any, "--prometheus-listen", any].map(Into::into));
        let Ok(Leveret::Serve(serve)) = cli::parse(words, |_| None) else {
            panic!("a valid configuration");
        };
        TestBroker {
            server: Server::start(serve.config).await.expect("a broker"),
            _data: data,
        }
    }

    /// Runs the load generator to a successful end.
    async fn measure(&self, line: &str) -> Value {
        let mut bench = Command::new(env!("CARGO_BIN_EXE_leveret-bench"));
        bench.args(line.split_whitespace());
        let uri = format!("amqp://guest:guest@{}", self.server.amqp_addr());
        bench.args(["--json", "--uri", &uri]);
        let done = tokio::task::spawn_blocking(move || bench.output());
        let done = done.await.expect("no panic").expect("a run");
        let printed = String::from_utf8(done.stdout).expect("text");
        assert!(done.status.success(), "{line}: {printed} {:?}", done.stderr);
        assert!(done.stderr.is_empty(), "no progress without a terminal");
        serde_json::from_str(&printed).expect("JSON")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordinary_loads_lose_no_message() {
    let broker = TestBroker::start().await;
    for line in [
        "produce --count 2000 --pairs 2",
        "both --count 2000 --exchange-type fanout --queues 3 --consumers 3",
        "both --count 2000 --exchange-type topic --bindings 20 --queues 4 --consumers 2",
        "consume --count 2000 --consumers 2 --ack-batch 1",
        "latency --seconds 0.5 --warm-up 0 --rate 200",
        "swarm --pairs 5 --seconds 0.5 --warm-up 0",
        "queues --queues 10",
    ] {
        let summary = broker.measure(line).await;
        assert_eq!(summary["ok"], true, "{line}: {summary:#}");
        let name = summary["broker"].as_str().unwrap();
        assert!(name.starts_with("Leveret "), "{name}");
    }
    broker.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observers_fetch_beside_a_load() {
    const ROUNDS: u64 = 2;
    let broker = TestBroker::start().await;
    let (metrics, management) = (
        broker.server.prometheus_addrs()[0],
        broker.server.management_addrs()[0],
    );
    let line = format!(
        "observed --queues 5 --rounds {ROUNDS} --seconds 0.3 --warm-up 0 --observe http://{metrics}/metrics \
         --observe http://guest:guest@{management}/api/queues"
    );
    let summary = broker.measure(&line).await;
    let observed = &summary["observed"];
    assert!(
        observed["rate_ratio"].as_f64().unwrap() > 0.0,
        "{summary:#}"
    );
    assert!(
        observed["fetches"].as_u64().unwrap() >= ROUNDS,
        "{summary:#}"
    );
    assert!(observed["megabytes_fetched"].as_f64().unwrap() > 0.0);
    broker.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_due_at_random_times_come_when_they_are_due() {
    let broker = TestBroker::start().await;
    let line = "delayed --count 3000 --due 1.5..3 --pairs 2 --size 100";
    let summary = broker.measure(line).await;
    let found = &summary["delayed"]["due"];
    assert_eq!(found["early"], 0, "{summary:#}");
    let left_out = ["published_late", "due_unattended"].map(|name| found[name].as_u64().unwrap());
    assert!(left_out.iter().sum::<u64>() < 3000, "{summary:#}");
    let late_ms = found["late_ms"]["max"].as_f64().unwrap();
    assert!(late_ms < LATE.as_secs_f64() * 1000.0, "{summary:#}");
    broker.server.shutdown().await;
}
