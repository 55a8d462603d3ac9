//! The metrics, as Prometheus reads them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use leveret::files;
use leveret::metrics::{Front, MetricsConfig};
use leveret::net::Listener;
use leveret::wire::FieldTable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::{Client, Peer, Publish, TestServer, eventually, socketless};

/// A broker with metrics.
struct Scraped {
    server: TestServer,
    address: SocketAddr,
    _stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Scraped {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Answer {
    status: u16,
    head: String,
    text: String,
}

impl Scraped {
    async fn start() -> Scraped {
        let server = TestServer::start().await;
        let config = MetricsConfig {
            connections: files::METRICS,
            newcomer_timeout: Duration::from_secs(10),
        };
        let front = Front::new(server.views.clone(), config);
        let listener = Listener::open(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(front.serve(listener, stopped));
        Scraped {
            server,
            address,
            _stop: stop,
            task,
        }
    }

    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
        let mut answer = Vec::new();
        let mut stream = self.send(&request).await;
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let text = match head.contains("transfer-encoding: chunked") {
            true => chunks(body),
            false => body.to_owned(),
        };
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            text,
        }
    }

    async fn get(&self, path: &str) -> String {
        let answer = self.ask("GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.text
    }

    /// The value of a sample of `/metrics`, by its name with labels.
    async fn value(&self, sample: &str) -> f64 {
        let text = self.get("/metrics").await;
        let values = samples(&text);
        *values
            .get(sample)
            .unwrap_or_else(|| panic!("no {sample} in {text}"))
    }
}

/// The data of a chunked body.
fn chunks(mut body: &str) -> String {
    let mut text = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return text;
        }
        text.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
}

/// The samples of a text, by name with labels. Fails on a line that is none.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

/// What RabbitMQ's overview dashboard reads, with types.
const DASHBOARD: &[(&str, &str)] = &[
    ("rabbitmq_build_info", "untyped"),
    ("rabbitmq_identity_info", "untyped"),
    ("rabbitmq_channels", "gauge"),
    ("rabbitmq_channels_opened_total", "counter"),
    ("rabbitmq_channels_closed_total", "counter"),
    ("rabbitmq_connections", "gauge"),
    ("rabbitmq_connections_opened_total", "counter"),
    ("rabbitmq_connections_closed_total", "counter"),
    ("rabbitmq_queues", "gauge"),
    ("rabbitmq_queues_created_total", "counter"),
    ("rabbitmq_queues_declared_total", "counter"),
    ("rabbitmq_queues_deleted_total", "counter"),
    ("rabbitmq_global_consumers", "gauge"),
    ("rabbitmq_global_publishers", "gauge"),
    ("rabbitmq_global_messages_received_total", "counter"),
    ("rabbitmq_global_messages_received_confirm_total", "counter"),
    ("rabbitmq_global_messages_confirmed_total", "counter"),
    ("rabbitmq_global_messages_routed_total", "counter"),
    (
        "rabbitmq_global_messages_unroutable_dropped_total",
        "counter",
    ),
    (
        "rabbitmq_global_messages_unroutable_returned_total",
        "counter",
    ),
    ("rabbitmq_global_messages_delivered_total", "counter"),
    (
        "rabbitmq_global_messages_delivered_consume_auto_ack_total",
        "counter",
    ),
    (
        "rabbitmq_global_messages_delivered_consume_manual_ack_total",
        "counter",
    ),
    (
        "rabbitmq_global_messages_delivered_get_auto_ack_total",
        "counter",
    ),
    (
        "rabbitmq_global_messages_delivered_get_manual_ack_total",
        "counter",
    ),
    ("rabbitmq_global_messages_get_empty_total", "counter"),
    ("rabbitmq_global_messages_redelivered_total", "counter"),
    ("rabbitmq_global_messages_acknowledged_total", "counter"),
    ("rabbitmq_queue_messages_ready", "gauge"),
    ("rabbitmq_queue_messages_unacked", "gauge"),
    ("rabbitmq_message_size_bytes", "histogram"),
    ("rabbitmq_process_open_fds", "gauge"),
    ("rabbitmq_process_max_fds", "gauge"),
    ("rabbitmq_process_resident_memory_bytes", "gauge"),
    ("rabbitmq_resident_memory_limit_bytes", "gauge"),
    ("rabbitmq_disk_space_available_bytes", "gauge"),
    ("rabbitmq_disk_space_available_limit_bytes", "gauge"),
    ("rabbitmq_erlang_uptime_seconds", "gauge"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_dashboard_finds_all_its_metrics_with_their_types_and_labels() {
    let scraped = Scraped::start().await;
    for path in ["/metrics", "/metrics/per-object"] {
        let text = scraped.get(path).await;
        for (name, kind) in DASHBOARD {
            if path == "/metrics" || !name.starts_with("rabbitmq_queue_") {
                let line = format!("# TYPE {name} {kind}\n");
                assert_eq!(text.matches(&line).count(), 1, "{name} in {path}");
            }
        }
        let values = samples(&text);
        for labels in [
            "rabbitmq_global_messages_delivered_total{protocol=\"amqp091\",queue_type=\"rabbit_quorum_queue\"}",
            "rabbitmq_global_messages_received_total{protocol=\"amqp091\"}",
            "rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"+Inf\"}",
        ] {
            assert_eq!(values.get(labels), Some(&0.0), "{labels}");
        }
        let identity = values
            .keys()
            .find(|name| name.starts_with("rabbitmq_identity_info{"));
        let identity = identity.unwrap();
        for label in [
            "rabbitmq_node=",
            "rabbitmq_cluster=",
            "rabbitmq_cluster_permanent_id=",
        ] {
            assert!(identity.contains(label), "{identity}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_move_as_messages_move() {
    let scraped = Scraped::start().await;
    let server = &scraped.server;
    let mut peer = Peer::new(server).await;
    peer.declare_durable(1, "q\"1", &[]).await;
    for body in ["1", "2", "3"] {
        peer.publish(1, "q\"1", body.as_bytes()).await;
    }
    peer.publish_as(1, &Publish::to("amq.direct", "nowhere", b"4"))
        .await;
    assert!(peer.get(1, "q\"1").await.is_some());
    eventually("the messages are there", || {
        server.numbers("q\"1") == (2, 1, 0)
    })
    .await;
    for (sample, value) in [
        ("rabbitmq_queue_messages_ready", 2.0),
        ("rabbitmq_queue_messages_unacked", 1.0),
        (
            "rabbitmq_global_messages_received_total{protocol=\"amqp091\"}",
            4.0,
        ),
        (
            "rabbitmq_global_messages_unroutable_dropped_total{protocol=\"amqp091\"}",
            1.0,
        ),
        (
            "rabbitmq_message_size_bytes_count{protocol=\"amqp091\"}",
            4.0,
        ),
        (
            "rabbitmq_global_messages_delivered_get_manual_ack_total\
             {protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"}",
            1.0,
        ),
        ("rabbitmq_exchange_messages_published_total", 4.0),
        ("rabbitmq_queues_created_total", 1.0),
        ("rabbitmq_connections", 1.0),
        ("leveret_leases", 1.0),
    ] {
        assert_eq!(scraped.value(sample).await, value, "{sample}");
    }
    assert!(scraped.value("leveret_commit_seconds_count").await >= 1.0);
    let text = scraped.get("/metrics/per-object").await;
    let values = samples(&text);
    let of_queue = "rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"q\\\"1\"}";
    assert_eq!(values.get(of_queue), Some(&2.0), "{text}");
    let of_exchange =
        "rabbitmq_exchange_messages_published_total{vhost=\"/\",exchange=\"amq.direct\"}";
    assert_eq!(values.get(of_exchange), Some(&1.0), "{text}");

    let mut client = crate::cmq::client(server).await;
    client
        .refused("ReceiveMessage", &[("queueName", "none")])
        .await;
    let text = scraped.get("/metrics").await;
    assert!(text.contains("leveret_cmq_requests_total{action=\"ReceiveMessage\",code=\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detailed_request_shows_the_families_and_virtual_hosts_that_it_names() {
    let scraped = Scraped::start().await;
    let mut peer = Peer::new(&scraped.server).await;
    peer.declare(1, "q").await;
    let nothing = scraped.get("/metrics/detailed").await;
    assert_eq!(samples(&nothing).len(), 2, "{nothing}");
    let coarse = scraped
        .get("/metrics/detailed?family=queue_coarse_metrics&family=vhost_status")
        .await;
    let ready = "rabbitmq_detailed_queue_messages_ready{vhost=\"/\",queue=\"q\"}";
    assert_eq!(samples(&coarse).get(ready), Some(&0.0));
    assert!(coarse.contains("rabbitmq_cluster_vhost_status{vhost=\"/\"} 1\n"));
    assert!(!coarse.contains("queue_consumers"));
    let elsewhere = scraped
        .get("/metrics/detailed?family=queue_coarse_metrics&vhost=other")
        .await;
    assert_eq!(samples(&elsewhere).len(), 2, "{elsewhere}");
    for family in [
        "queue_consumer_count",
        "queue_metrics",
        "queue_delivery_metrics",
        "queue_exchange_metrics",
        "exchange_metrics",
        "exchange_names",
        "exchange_bindings",
        "connection_churn_metrics",
        "connection_coarse_metrics",
        "connection_metrics",
        "node_coarse_metrics",
        "node_metrics",
        "alarm_metrics",
        "leveret_queue_metrics",
    ] {
        let text = scraped
            .get(&format!("/metrics/detailed?family={family}&vhost=%2F"))
            .await;
        assert!(samples(&text).len() > 2, "{family}: {text}");
    }
    let memory = scraped.get("/metrics/memory-breakdown").await;
    assert!(samples(&memory)["leveret_memory_resident_bytes"] > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_get_the_format_that_they_accept_and_clear_refusals() {
    let scraped = Scraped::start().await;
    let open = scraped
        .ask(
            "GET",
            "/metrics",
            "accept: application/openmetrics-text; version=1.0.0\r\n",
        )
        .await;
    assert!(
        open.head
            .contains("content-type: application/openmetrics-text; version=1.0.0")
    );
    assert!(
        open.text
            .contains("# TYPE rabbitmq_connections_opened counter\n")
    );
    assert!(open.text.ends_with("# EOF\n"));
    let text = scraped
        .ask("GET", "/metrics", "accept: text/plain\r\n")
        .await;
    assert!(
        text.head
            .contains("content-type: text/plain; version=0.0.4")
    );
    let json = scraped
        .ask("GET", "/metrics", "accept: application/json\r\n")
        .await;
    assert_eq!(json.status, 406);
    assert_eq!(scraped.ask("POST", "/metrics", "").await.status, 405);
    assert_eq!(
        scraped.ask("GET", "/metrics/nonsense", "").await.status,
        404
    );
    assert_eq!(scraped.ask("GET", "/", "").await.status, 404);
    let head = scraped.ask("HEAD", "/metrics", "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_queues_are_scraped_quickly_and_slow_readers_delay_nobody() {
    let scraped = Scraped::start().await;
    for number in 0..10_000 {
        socketless::declare(
            &scraped.server.broker,
            &format!("q{number}"),
            FieldTable::default(),
        )
        .await;
    }
    let begun = Instant::now();
    assert_eq!(scraped.value("rabbitmq_queues").await, 10_000.0);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let text = scraped
        .get("/metrics/detailed?family=queue_coarse_metrics")
        .await;
    assert_eq!(samples(&text).len(), 3 * 10_000 + 2);
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(
            scraped
                .send("GET /metrics/per-object HTTP/1.1\r\nhost: test\r\n\r\n")
                .await,
        );
    }
    for stream in &mut slow[..2] {
        stream.read_u8().await.unwrap();
    }
    assert_eq!(scraped.value("rabbitmq_queues").await, 10_000.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_are_counted_by_protocol_and_on_request_by_source() {
    let scraped = Scraped::start().await;
    let users = scraped.server.broker.users();
    let log_in = async |user: &str, password: &str| {
        let address = scraped.server.address;
        let mut peer = Peer::log_in(address, Client::default(), user, password).await;
        peer.method().await;
    };
    log_in("guest", "guest").await;
    users.track_login_sources();
    log_in("guest", "guest").await;
    log_in("ann", "x").await;
    let of_logins = async |path: &str| {
        let text = scraped.get(path).await;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let lines = lines.filter(|line| line.contains("auth_attempts"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let sums = |prefix: &str| {
        [
            ("total", [3, 0]),
            ("succeeded_total", [2, 0]),
            ("failed_total", [1, 0]),
        ]
        .into_iter()
        .flat_map(|(name, counts)| {
            let name = format!("{prefix}_auth_attempts_{name}");
            ["amqp091", "http"]
                .into_iter()
                .zip(counts)
                .map(move |(protocol, count)| format!("{name}{{protocol=\"{protocol}\"}} {count}"))
        })
        .collect::<Vec<_>>()
    };
    let sources = |prefix: &str| {
        [
            ("total", [1, 1]),
            ("succeeded_total", [0, 1]),
            ("failed_total", [1, 0]),
        ]
        .into_iter()
        .flat_map(|(name, counts)| {
            let name = format!("{prefix}_auth_attempts_detailed_{name}");
            ["ann", "guest"]
                .into_iter()
                .zip(counts)
                .map(move |(user, count)| {
                    let labels = format!(
                        "remote_address=\"127.0.0.1\",username=\"{user}\",protocol=\"amqp091\""
                    );
                    format!("{name}{{{labels}}} {count}")
                })
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(of_logins("/metrics").await, sums("rabbitmq"));
    let both = [sums("rabbitmq"), sources("rabbitmq")].concat();
    assert_eq!(of_logins("/metrics/per-object").await, both);
    let families = "?family=auth_attempt_metrics&family=auth_attempt_detailed_metrics";
    let both = [sums("rabbitmq_detailed"), sources("rabbitmq_detailed")].concat();
    assert_eq!(
        of_logins(&format!("/metrics/detailed{families}")).await,
        both
    );
    assert_eq!(of_logins("/metrics/detailed").await, [""; 0]);
}
