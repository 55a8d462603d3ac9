//! A wall clock that is set while the broker runs, by an hour, forth and back, for a moment and for good: nothing that
//! is due is late or early for it, and what is shown follows it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use leveret::clock::Settable;
use leveret::wire::protocol::{basic, channel};
use leveret::wire::{AMQPClass, AMQPValue, PropertiesView};

use crate::cmq;
use crate::support::reply_code::PRECONDITION_FAILED;
use crate::support::{Client, Event, Peer, TestServer, eventually, eventually_eq, long, text};

const HOUR_MS: i64 = 3_600_000;
/// How late something may come on a busy machine. Far less than an hour.
const LATE: Duration = Duration::from_secs(20);
/// How long what is tested takes: so long that the clock is set meanwhile.
const LENGTH: Duration = Duration::from_secs(2);
const LENGTH_MS: i64 = 2_000;
/// When it is set, and when it is set back if it is.
const MOMENT: Duration = Duration::from_millis(500);

/// Something that takes [`LENGTH`], neither more nor less.
async fn takes_its_time(what: &str, done: impl Future<Output = ()>) {
    let began = Instant::now();
    done.await;
    let took = began.elapsed();
    // Times count in milliseconds.
    assert!(
        took + Duration::from_millis(2) >= LENGTH,
        "{what}: {took:?}"
    );
    assert!(took < LENGTH + LATE, "{what}: {took:?}");
}

/// A broker whose clock is set, and what is done with it.
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
        takes_its_time("a lock", async {
            peer.get(1, name).await.unwrap();
            eventually_eq("the lock has ended", 1, || self.server.ready(name)).await;
        })
        .await;
    }

    async fn time_to_live(&self) {
        let mut peer = self
            .queue("ttl", &[("x-message-ttl", long(LENGTH_MS))])
            .await;
        takes_its_time("a time to live", async {
            peer.publish(1, "ttl", b"a").await;
            eventually_eq("it is there", 1, || self.server.ready("ttl")).await;
            eventually_eq("it has expired", 0, || self.server.ready("ttl")).await;
        })
        .await;
    }

    async fn delay(&self, queue: &str) {
        let mut peer = self.queue(queue, &[]).await;
        peer.consume_no_ack(1, queue, "t").await;
        takes_its_time("a delay", async {
            let delay = [("x-delay", long(LENGTH_MS))];
            peer.publish_to(1, "", queue, &delay, "late").await;
            assert_eq!(peer.content().await.text(), "late");
        })
        .await;
    }

    async fn expiry(&self) {
        let mut peer = Peer::new(&self.server).await;
        takes_its_time("an unused queue", async {
            let arguments = [("x-expires", long(LENGTH_MS))];
            peer.declare_durable(1, "unused", &arguments).await;
            eventually("it is gone", || self.server.counts("unused").is_none()).await;
        })
        .await;
    }

    async fn consumer_timeout(&self) {
        // Timeouts are looked at as often as heartbeats.
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
        // Counted in whole seconds.
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

    /// Everything at once, while the clock is set.
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

    /// Segments of a stream that has some before, while and after the clock is set.
    async fn max_age(&self) {
        let arguments = [
            ("x-queue-type", text("stream")),
            ("x-max-age", text("2s")),
            ("x-stream-max-segment-size-bytes", long(1)),
        ];
        let mut peer = self.queue("stream", &arguments).await;
        peer.confirm_select(1).await;
        takes_its_time("what is too old", async {
            for tag in 1..=8 {
                peer.publish(1, "stream", b"a").await;
                let (_, answer) = peer.method().await;
                let AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) = answer else {
                    panic!("{answer:?}");
                };
                assert_eq!(ack.delivery_tag, tag);
                tokio::time::sleep(MOMENT / 4).await;
            }
            // The newest segment stays.
            eventually_eq("it is gone", 1, || self.server.ready("stream")).await;
        })
        .await;
    }
}

/// Sets the clock when everything is under way, and back again if it is for a moment.
async fn is_set_while_all_runs(by_ms: i64, for_good: bool) {
    let rig = Rig::new().await;
    let set = async {
        tokio::time::sleep(MOMENT).await;
        rig.clocks.set_wall_ahead_ms(by_ms);
        // What begins now counts by its own time as well.
        rig.delay("begun in between").await;
        if !for_good {
            rig.clocks.set_wall_ahead_ms(0);
        }
    };
    rig.check(set).await;
    // And no later time is poisoned.
    tokio::join!(
        rig.lock("locked afterwards"),
        rig.time_to_live(),
        rig.delay("afterwards")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_ahead_for_good_changes_nothing() {
    is_set_while_all_runs(HOUR_MS, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_ahead_for_a_moment_changes_nothing() {
    is_set_while_all_runs(HOUR_MS, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_back_for_good_changes_nothing() {
    is_set_while_all_runs(-HOUR_MS, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_back_for_a_moment_changes_nothing() {
    is_set_while_all_runs(-HOUR_MS, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_and_delays_keep_their_ends_over_a_restart_after_which_the_clock_is_another() {
    for by_ms in [HOUR_MS, -HOUR_MS] {
        let rig = Rig::new().await;
        let mut peer = rig
            .queue("q", &[("x-visibility-timeout", long(600_000))])
            .await;
        peer.publish(1, "q", b"held").await;
        let mut soon = rig
            .queue("soon", &[("x-visibility-timeout", long(LENGTH_MS))])
            .await;
        soon.publish(1, "soon", b"held").await;
        eventually_eq("they are there", (1, 1), || {
            (rig.server.ready("q"), rig.server.ready("soon"))
        })
        .await;
        let receive = async |name: &str| {
            let queue = rig.server.broker.vhost("/").unwrap().queue(name).unwrap();
            let batch = queue.receive(1, Duration::ZERO).await.unwrap();
            let committer = rig.server.broker.committer();
            committer.wait(batch.ticket.unwrap()).await.unwrap();
            batch.accept().remove(0)
        };
        let held = receive("q").await;
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
        let queue = server.broker.vhost("/").unwrap().queue("q").unwrap();
        assert_eq!(queue.delete_received(&[held.handle]).0, [true]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_say_and_see_is_wall_clock_time() {
    let rig = Rig::new().await;
    let mut client = cmq::client(&rig.server).await;
    client.ok("CreateQueue", &[("queueName", "cmq")]).await;
    rig.clocks.set_wall_ahead_ms(HOUR_MS);
    // By our clock the client is an hour behind.
    let late = client
        .call("SendMessage", &[("queueName", "cmq"), ("msgBody", "a")])
        .await;
    assert_eq!(late["code"], 4100, "{late}");
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

    let mut peer = rig.queue("kept", &[("x-rewind-seconds", long(3600))]).await;
    let mut acked = async |body: &str| {
        peer.publish(1, "kept", body.as_bytes()).await;
        eventually_eq("it is there", 1, || rig.server.ready("kept")).await;
        let content = peer.get_no_ack(1, "kept").await.unwrap();
        let properties = PropertiesView::parse(&content.properties).unwrap();
        let headers = properties.headers().unwrap();
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
    let queue = rig.server.broker.vhost("/").unwrap().queue("kept").unwrap();
    let rewind = async |ms| {
        let to = leveret::broker::queue::RewindTo::Time(ms);
        queue.rewind(to).await.map(|rewound| rewound.messages)
    };
    assert_eq!(rewind(between).await.unwrap(), 1);
    // The clock was wrong: what is shown is set right, and is what a rewind goes by.
    rig.clocks.set_wall_ahead_ms(0);
    let hour_ms = HOUR_MS.unsigned_abs();
    assert_eq!(rewind(first - hour_ms).await.unwrap(), 1);
    assert!(rewind(between).await.is_err(), "that time is to come");
}
