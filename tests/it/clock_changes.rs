//! A wall clock that jumps by an hour while the broker runs, or between two runs. Timeouts and delays keep their length;
//! times that clients see follow the wall clock.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use leveret::clock::Settable;
use leveret::wire::protocol::{basic, channel};
use leveret::wire::{AMQPClass, AMQPValue};

use crate::cmq;
use crate::support::reply_code::PRECONDITION_FAILED;
use crate::support::{Client, Event, Peer, TestServer, eventually, eventually_eq, long, text};

/// CMQ's code of a request whose time stamp is too old or in the future.
const TIMESTAMP_EXPIRED: u64 = 4100;
const HOUR_MS: i64 = 3_600_000;
/// The longest delay on a busy machine. Far less than an hour.
const LATE: Duration = Duration::from_secs(20);
/// The length of each timeout and delay under test, long enough to change the clock meanwhile.
const LENGTH: Duration = Duration::from_millis(LENGTH_MS.unsigned_abs());
const LENGTH_MS: i64 = 2_000;
/// Time before the clock jumps.
const MOMENT: Duration = Duration::from_millis(500);

/// Asserts that something takes [`LENGTH`].
async fn takes_length(what: &str, done: impl Future<Output = ()>) {
    let began = Instant::now();
    done.await;
    let took = began.elapsed();
    assert!(
        took + Duration::from_millis(2) >= LENGTH,
        "{what}: {took:?}"
    );
    assert!(took < LENGTH + LATE, "{what}: {took:?}");
}

/// A broker with a wall clock that the test sets, and everything in it that depends on time.
struct Rig {
    server: TestServer,
    clocks: Arc<Settable>,
}

impl Rig {
    async fn new() -> Rig {
        let clocks = Arc::new(Settable::default());
        let server = TestServer::start_by(clocks.clone(), |settings| {
            settings.consumer_timeout_ms = Some(LENGTH.as_millis().try_into().unwrap());
        })
        .await;
        Rig { server, clocks }
    }

    async fn queue(&self, name: &str, arguments: &[(&str, AMQPValue)]) -> Peer {
        let mut peer = Peer::new(&self.server).await;
        peer.declare_durable(1, name, arguments).await;
        peer
    }

    async fn lock(&self, name: &str) {
        let mut peer = self
            .queue(name, &[("x-visibility-timeout", long(LENGTH_MS))])
            .await;
        peer.publish(1, name, b"a").await;
        eventually_eq("it is there", 1, || self.server.ready(name)).await;
        takes_length("a lock", async {
            peer.get(1, name).await.unwrap();
            eventually_eq("the lock has ended", 1, || self.server.ready(name)).await;
        })
        .await;
    }

    async fn time_to_live(&self) {
        let mut peer = self
            .queue("ttl", &[("x-message-ttl", long(LENGTH_MS))])
            .await;
        takes_length("a time to live", async {
            peer.publish(1, "ttl", b"a").await;
            eventually_eq("it is there", 1, || self.server.ready("ttl")).await;
            eventually_eq("it has expired", 0, || self.server.ready("ttl")).await;
        })
        .await;
    }

    async fn delay(&self, queue: &str) {
        let mut peer = self.queue(queue, &[]).await;
        peer.consume_no_ack(1, queue, "t").await;
        takes_length("a delay", async {
            let delay = [("x-delay", long(LENGTH_MS))];
            peer.publish_to(1, "", queue, &delay, "late").await;
            assert_eq!(peer.content().await.text(), "late");
        })
        .await;
    }

    async fn expiry(&self) {
        let mut peer = Peer::new(&self.server).await;
        takes_length("an unused queue", async {
            let arguments = [("x-expires", long(LENGTH_MS))];
            peer.declare_durable(1, "unused", &arguments).await;
            eventually("it is gone", || self.server.counts("unused").is_none()).await;
        })
        .await;
    }

    async fn consumer_timeout(&self) {
        // The broker checks the consumer timeout as often as it sends heartbeats.
        let client = Client {
            heartbeat: 4,
            ..Client::default()
        };
        let mut peer = Peer::connect(self.server.address, client).await;
        peer.open(1).await;
        peer.declare(1, "patient").await;
        peer.publish(1, "patient", b"a").await;
        peer.consume(1, "patient", "t").await;
        peer.content().await;
        let began = Instant::now();
        let event = loop {
            match peer.next().await {
                Event::Heartbeat => {}
                other => break other,
            }
        };
        let Event::Method(1, AMQPClass::Channel(channel::AMQPMethod::Close(close))) = event else {
            panic!("{event:?}");
        };
        assert_eq!(close.reply_code, PRECONDITION_FAILED);
        // The consumer timeout counts whole seconds.
        let took = began.elapsed() + Duration::from_secs(1);
        assert!(took >= LENGTH && took < LENGTH + LATE, "{took:?}");
    }

    async fn heartbeats(&self) {
        let client = Client {
            heartbeat: 1,
            ..Client::default()
        };
        let mut peer = Peer::connect(self.server.address, client).await;
        let began = Instant::now();
        while began.elapsed() < LENGTH {
            assert_eq!(peer.next().await, Event::Heartbeat);
            peer.frame(leveret::wire::FrameKind::Heartbeat, 0, &[])
                .await;
        }
    }

    /// All checks together, while the clock jumps.
    async fn check(&self, set: impl Future<Output = ()>) {
        tokio::join!(
            set,
            self.lock("locked"),
            self.time_to_live(),
            self.delay("delayed"),
            self.expiry(),
            self.consumer_timeout(),
            self.heartbeats(),
            self.max_age(),
        );
    }

    /// The segments of the stream are written before, while and after the clock jumps.
    async fn max_age(&self) {
        let arguments = [
            ("x-queue-type", text("stream")),
            ("x-max-age", text("2s")),
            ("x-stream-max-segment-size-bytes", long(1)),
        ];
        let mut peer = self.queue("stream", &arguments).await;
        peer.confirm_select(1).await;
        takes_length("what is too old", async {
            for tag in 1..=8 {
                peer.publish(1, "stream", b"a").await;
                let (_, answer) = peer.method().await;
                let AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) = answer else {
                    panic!("{answer:?}");
                };
                assert_eq!(ack.delivery_tag, tag);
                tokio::time::sleep(MOMENT / 4).await;
            }
            // Retention never drops the newest segment.
            eventually_eq("it is gone", 1, || self.server.ready("stream")).await;
        })
        .await;
    }
}

/// Whether the clock stays where it was set.
enum Jump {
    ForGood,
    ForAMoment,
}

/// Moves the clock while all checks run; a moment later it moves back unless it jumps for good.
async fn check_jump(by_ms: i64, jump: Jump) {
    let rig = Rig::new().await;
    let set = async {
        tokio::time::sleep(MOMENT).await;
        rig.clocks.set_wall_ahead_ms(by_ms);
        // A delay that begins after the jump has its length, too.
        rig.delay("begun in between").await;
        if matches!(jump, Jump::ForAMoment) {
            rig.clocks.set_wall_ahead_ms(0);
        }
    };
    rig.check(set).await;
    // The jump leaves nothing behind.
    tokio::join!(
        rig.lock("locked afterwards"),
        rig.time_to_live(),
        rig.delay("afterwards")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_ahead_by_an_hour_changes_no_timeout() {
    check_jump(HOUR_MS, Jump::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_ahead_for_a_moment_changes_no_timeout() {
    check_jump(HOUR_MS, Jump::ForAMoment).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_back_by_an_hour_changes_no_timeout() {
    check_jump(-HOUR_MS, Jump::ForGood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_back_for_a_moment_changes_no_timeout() {
    check_jump(-HOUR_MS, Jump::ForAMoment).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipt_handles_and_delays_keep_their_length_when_the_clock_changes_over_a_restart() {
    for by_ms in [HOUR_MS, -HOUR_MS] {
        let rig = Rig::new().await;
        let mut peer = rig
            .queue("q", &[("x-visibility-timeout", long(600_000))])
            .await;
        peer.publish(1, "q", b"received").await;
        let mut soon = rig
            .queue("soon", &[("x-visibility-timeout", long(LENGTH_MS))])
            .await;
        soon.publish(1, "soon", b"received").await;
        eventually_eq("they are there", (1, 1), || {
            (rig.server.ready("q"), rig.server.ready("soon"))
        })
        .await;
        let receive = async |name: &str| {
            let queue = rig.server.queue(name);
            let batch = queue.receive(1, Duration::ZERO).await.unwrap();
            let committer = rig.server.broker.committer();
            committer.wait(batch.ticket.unwrap()).await.unwrap();
            batch.accept().remove(0)
        };
        let received = receive("q").await;
        let began = Instant::now();
        receive("soon").await;
        let delay = [("x-delay", long(LENGTH_MS))];
        peer.publish_to(1, "", "q", &delay, "late").await;
        eventually_eq("it is delayed", 1, || {
            rig.server.counts("q").unwrap().delayed
        })
        .await;
        drop((peer, soon));

        rig.clocks.set_wall_ahead_ms(by_ms);
        let server = rig.server.restart().await;
        let numbers = |name: &str| server.ready(name);
        eventually_eq("both are over", (1, 1), || (numbers("q"), numbers("soon"))).await;
        let took = began.elapsed();
        assert!(
            took + Duration::from_millis(2) >= LENGTH && took < LENGTH + LATE,
            "{took:?}"
        );
        let queue = server.queue("q");
        assert_eq!(queue.delete_received(&[received.handle]).0, [true]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_send_and_see_wall_clock_time() {
    let rig = Rig::new().await;
    let mut client = cmq::client(&rig.server).await;
    client.ok("CreateQueue", &[("queueName", "cmq")]).await;
    rig.clocks.set_wall_ahead_ms(HOUR_MS);
    // The client's time stamps are an hour behind the broker's clock.
    let late = client
        .call("SendMessage", &[("queueName", "cmq"), ("msgBody", "a")])
        .await;
    assert_eq!(late["code"], TIMESTAMP_EXPIRED, "{late}");
    client.ahead = HOUR_MS / 1000;
    client
        .ok("SendMessage", &[("queueName", "cmq"), ("msgBody", "a")])
        .await;
    let wall_ms = || rig.server.broker.clock().wall_ms();
    let now_secs = wall_ms() / 1000;
    let got = client.ok("ReceiveMessage", &[("queueName", "cmq")]).await;
    for (field, expected) in [
        ("enqueueTime", now_secs),
        ("firstDequeueTime", now_secs),
        ("nextVisibleTime", now_secs + 30),
    ] {
        let shown = got[field].as_u64().unwrap();
        assert!(
            shown.abs_diff(expected) <= LATE.as_secs(),
            "{field}: {shown}, {expected}"
        );
    }

    let mut peer = rig
        .queue("history", &[("x-rewind-seconds", long(3600))])
        .await;
    let mut acked = async |body: &str| {
        peer.publish(1, "history", body.as_bytes()).await;
        eventually_eq("it is there", 1, || rig.server.ready("history")).await;
        let content = peer.get_no_ack(1, "history").await.unwrap();
        let headers = content.headers();
        let Some(AMQPValue::LongLongInt(at_ms)) = headers.inner().get("x-enqueued-at") else {
            panic!("{headers:?}");
        };
        at_ms.unsigned_abs()
    };
    let first = acked("a").await;
    assert!(
        first.abs_diff(wall_ms()) < LATE.as_millis().try_into().unwrap(),
        "{first}"
    );
    tokio::time::sleep(Duration::from_millis(10)).await;
    let between = wall_ms();
    tokio::time::sleep(Duration::from_millis(10)).await;
    acked("b").await;
    let queue = rig.server.queue("history");
    let rewind = async |ms| {
        let to = leveret::broker::queue::RewindTo::Time(ms);
        queue.rewind(to).await.map(|rewound| rewound.messages)
    };
    assert_eq!(rewind(between).await.unwrap(), 1);
    // When a wrong clock is corrected, times of enqueued messages move with it, and rewinds use the corrected times.
    rig.clocks.set_wall_ahead_ms(0);
    let hour_ms = HOUR_MS.unsigned_abs();
    assert_eq!(rewind(first - hour_ms).await.unwrap(), 1);
    assert!(
        rewind(between).await.is_err(),
        "that time lies in the future"
    );
}
