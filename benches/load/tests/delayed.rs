//! Delayed messages of a broker, as the load generator sees them.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use leveret::cli::{self, Command as Leveret};
use leveret::server::Server;

/// How late a message may come here, where the machine may be busy with anything. Leveret promises 50 ms.
const LATE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_due_at_random_times_come_when_they_are_due() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().as_os_str();
    let mut words: Vec<OsString> = ["leveret", "--data-dir"].map(OsString::from).into();
    words.push(data_dir.into());
    words.extend(["--amqp-listen", "127.0.0.1:0", "--cmq-listen", "none"].map(OsString::from));
    let Ok(Leveret::Serve(config)) = cli::parse(words, |_| None) else {
        panic!("a valid configuration");
    };
    let server = Server::start(*config).await.unwrap();
    let mut bench = Command::new(env!("CARGO_BIN_EXE_leveret-bench"));
    bench.args(["delayed", "--count", "3000", "--due", "1.5..3"]);
    bench.args(["--pairs", "2", "--size", "100", "--json", "--quiet"]);
    bench.args([
        "--uri",
        &format!("amqp://guest:guest@{}", server.amqp_addr()),
    ]);
    let done = tokio::task::spawn_blocking(move || bench.output().unwrap());
    let done = done.await.unwrap();
    let printed = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{printed}");
    let summary: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let found = &summary["delayed"]["due"];
    assert_eq!(found["early"], 0, "{printed}");
    let left_out = ["published_late", "due_unattended"].map(|name| found[name].as_u64().unwrap());
    assert!(left_out.iter().sum::<u64>() < 3000, "{printed}");
    let late_ms = found["late_ms"]["max"].as_f64().unwrap();
    assert!(late_ms < LATE.as_secs_f64() * 1000.0, "{printed}");
    server.shutdown().await;
}
