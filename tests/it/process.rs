//! The binary as a process: its log, its exit codes, signals, and the lock on its data directory.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use leveret::wire::AMQPClass;
use leveret::wire::protocol::basic;

use crate::support::exit_code::{EX_CONFIG, EX_TEMPFAIL, EX_UNAVAILABLE};
use crate::support::{Client, PATIENCE, Peer};

/// clap's exit code for unknown arguments.
const CLAP_USAGE: i32 = 2;

/// A broker process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: BufReader<ChildStderr>,
    pub(crate) address: String,
    /// The log up to the line with the address.
    start_log: String,
}

fn leveret(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command
        .env("LEVERET_CMQ_LISTEN", "127.0.0.1:0")
        .env("LEVERET_MANAGEMENT_LISTEN", "none")
        .env("LEVERET_PROMETHEUS_LISTEN", "none")
        .args(args)
        .arg("--data-dir")
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Process {
    /// Starts a broker and reads its log up to the line with its address.
    fn start(dir: &Path) -> Process {
        Process::start_by(|command| command, dir)
    }

    /// As [`Process::start`], with a changed command.
    pub(crate) fn start_by(make: impl FnOnce(Command) -> Command, dir: &Path) -> Process {
        let broker = leveret(dir, &["--amqp-listen", "127.0.0.1:0"]);
        let mut child = make(broker)
            .env("LEVERET_CMQ_LISTEN", "127.0.0.1:0")
            .env("LEVERET_MANAGEMENT_LISTEN", "none")
            .env("LEVERET_PROMETHEUS_LISTEN", "none")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut process = Process {
            child,
            log,
            address: String::new(),
            start_log: String::new(),
        };
        process.address = process.announced_address();
        process
    }

    fn announced_address(&mut self) -> String {
        self.announced("AMQP listener on ")
    }

    /// Reads the log to a line with these words; returns the rest of that line.
    fn announced(&mut self, words: &str) -> String {
        let mut lines = self.log.by_ref().lines().map(Result::unwrap);
        let start_log = &mut self.start_log;
        lines
            .find_map(|line| {
                *start_log += &line;
                start_log.push('\n');
                let (_, address) = line.split_once(words)?;
                // The line may be a JSON object.
                let end = address.find('"').unwrap_or(address.len());
                Some(address.get(..end)?.trim().to_owned())
            })
            .expect("the broker ended early")
    }

    /// Reads the log to a line with these words; returns the lines from here to it.
    pub(crate) fn log_to(&mut self, words: &str) -> String {
        let mut read = String::new();
        while !read.contains(words) {
            let bytes = self.log.read_line(&mut read).unwrap();
            assert!(bytes > 0, "the broker ended early: {read}");
        }
        read
    }

    pub(crate) fn start_log(&self) -> &str {
        &self.start_log
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end; returns the exit code and the rest of the log.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut rest = String::new();
                self.log.read_to_string(&mut rest).unwrap();
                return (status.code(), rest);
            }
            assert!(Instant::now() < deadline, "the broker goes on running");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map(drop)
            .unwrap_or_default();
    }
}

fn run(dir: &Path, args: &[&str]) -> (i32, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = leveret(dir, args).output().unwrap();
    (
        status.code().unwrap(),
        String::from_utf8([stdout, stderr].concat()).unwrap(),
    )
}

#[test]
fn sigterm_and_sigint_shut_the_broker_down_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let mut broker = Process::start(dir.path());
        std::net::TcpStream::connect(&broker.address).unwrap();
        broker.signal(signal);
        let (code, log) = broker.ended();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains(name) && log.contains("shut down"), "{log}");
    }
}

/// A store that cannot open a file fails, and every later publish with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_connections_leaves_file_descriptors_for_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Process::start_by(
        |command| {
            let mut limited = Command::new("sh");
            limited.args(["-c", "ulimit -n 400 && exec \"$0\" \"$@\""]);
            limited.arg(command.get_program()).args(command.get_args());
            limited
        },
        dir.path(),
    );
    let address = broker.address.parse().unwrap();
    let mut peer = Peer::connect(address, Client::default()).await;
    peer.open(1).await;
    peer.declare(1, "q").await;
    peer.confirm_select(1).await;
    let mut sockets = Vec::new();
    for round in 1..=20 {
        for _ in 0..60 {
            sockets.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        // Large enough for an extent of its own.
        peer.publish(1, "q", &vec![7; 300_000]).await;
        let confirm = peer.method().await.1;
        assert!(
            matches!(&confirm, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) if ack.delivery_tag == round),
            "{confirm:?}"
        );
    }
    assert_eq!(peer.get_no_ack(1, "q").await.unwrap().body.len(), 300_000);
    drop(sockets);
    broker.signal(Signal::TERM);
    let (code, log) = broker.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("Too many open files"), "{log}");
}

/// The answer to the client gives no reason; the log has it, with the request id of the answer.
#[test]
fn a_denied_cmq_request_is_logged_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Process::start(dir.path());
    let cmq = broker.announced("CMQ listener on ");
    let mut stream = std::net::TcpStream::connect(cmq).unwrap();
    let request = "GET /?Action=ListQueue&SecretId=AKIDnone&Nonce=1&Timestamp=1&Signature=x HTTP/1.1\r\n\
                   Host: h\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, id) = answer.split_once("\"requestId\":\"").unwrap();
    let (id, _) = id.split_once('"').unwrap();
    broker.signal(Signal::TERM);
    let (_, log) = broker.ended();
    let line = log.lines().find(|line| line.contains("CMQ request denied"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(id) && line.contains("AKIDnone"), "{line}");
    assert!(line.contains("its time stamp is"), "{line}");
}

#[test]
fn ctl_stop_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Process::start(dir.path());
    let mut stop = Command::new(env!("CARGO_BIN_EXE_leveret"));
    let stopped = stop
        .args(["ctl", "-q", "stop", "--data-dir"])
        .arg(dir.path())
        .status()
        .unwrap();
    assert_eq!(stopped.code(), Some(0));
    assert_eq!(broker.ended().0, Some(0));
}

#[test]
fn changes_by_operators_and_unknown_variables_are_logged_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let stray = |mut command: Command| {
        command.env("LEVERET_HARTBEAT", "5");
        command.env("LEVERET_MEMORY_HIGH_WATERMARK", "0.0001");
        command
    };
    let mut broker = Process::start_by(stray, dir.path());
    let ctl = |words: &[&str], input: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.arg("ctl").args(words).arg("--data-dir");
        let mut child = command
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    ctl(&["add_user", "alice"], "password-1\n");
    ctl(&["change_password", "alice"], "password-2\n");
    assert!(ctl(&["authenticate_user", "alice"], "password-2\n").contains("Success"));
    let key = ctl(
        &["-q", "add_secret_key", "alice", "AKIDalice"],
        "password-3\n",
    );
    assert!(key.ends_with("AKIDalice\tpassword-3\n"), "{key}");
    ctl(&["set_permissions", "-p", "/", "alice", "a", "b", "c"], "");
    ctl(&["list_users"], "");
    broker.signal(Signal::TERM);
    let (_, log) = broker.ended();
    for expected in [
        "ctl verb=\"add_user\" words=[\"alice\", \"***\"]",
        "ctl verb=\"change_password\" words=[\"alice\", \"***\"]",
        "ctl verb=\"add_secret_key\" words=[\"alice\", \"AKIDalice\", \"***\"]",
        "ctl verb=\"set_permissions\" words=[\"alice\", \"a\", \"b\", \"c\", \"--vhost=/\"]",
        "alarm raised: publishers are blocked resource=\"memory\" used=",
    ] {
        let log = format!("{}{log}", broker.start_log);
        assert!(log.contains(expected), "{expected}: {log}");
    }
    assert!(
        !log.contains("password-") && !log.contains("list_users"),
        "{log}"
    );
    let stray = "LEVERET_HARTBEAT sets no option; did you mean 'LEVERET_HEARTBEAT'?";
    assert!(broker.start_log.contains(stray), "{}", broker.start_log);
}

/// As `head` does.
#[test]
fn a_reader_that_closes_the_pipe_early_causes_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Process::start(dir.path());
    for words in [
        &["ctl", "help"][..],
        &["ctl", "list_queues"],
        &["check-config"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args(words).env("LEVERET_DATA_DIR", dir.path());
        let output = command.stdout(writer).stderr(Stdio::piped()).output();
        let output = output.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*said), (Some(0), ""), "{words:?}");
    }
    drop(broker);
}

#[test]
fn a_second_broker_on_the_same_data_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Process::start(dir.path());
    let (code, said) = run(dir.path(), &["--amqp-listen", "127.0.0.1:0"]);
    assert_eq!(code, EX_TEMPFAIL, "{said}");
    let expected = format!(
        "the data directory {} is in use by another broker",
        dir.path().display()
    );
    assert!(said.contains(&expected), "{said}");
    first.signal(Signal::KILL);
    first.ended();
    drop(Process::start(dir.path()));
}

#[test]
fn an_address_in_use_is_named_in_the_error() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Process::start(one.path());
    let (code, said) = run(other.path(), &["--amqp-listen", &first.address]);
    assert_eq!(code, EX_UNAVAILABLE, "{said}");
    assert!(
        said.contains(&format!("cannot listen on {}", first.address)),
        "{said}"
    );
}

#[test]
fn check_config_shows_each_option_with_its_source_and_names_unknown_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (code, said) = run(dir.path(), &["check-config"]);
    assert_eq!(code, 0);
    assert!(said.ends_with("the configuration is valid\n"), "{said}");
    for (option, place) in [
        ("data-dir = ", "# flag --data-dir"),
        (
            "cmq-listen = [\"127.0.0.1:0\"]",
            "# environment LEVERET_CMQ_LISTEN",
        ),
        ("heartbeat = 60", "# default"),
    ] {
        let mut lines = said.lines();
        let line = lines.find(|line| line.starts_with(option)).unwrap();
        assert!(line.ends_with(place), "{line}");
    }
    let file = dir.path().join("leveret.toml");
    std::fs::write(&file, "hartbeat = 5\n").unwrap();
    let (code, said) = run(
        dir.path(),
        &["check-config", "--config", file.to_str().unwrap()],
    );
    assert_eq!(code, EX_CONFIG);
    assert_eq!(
        said,
        format!(
            "leveret: configuration file {}: unknown option 'hartbeat'; did you mean 'heartbeat'?\n",
            file.display()
        )
    );
    assert_eq!(run(dir.path(), &["--heartbeat", "x"]).0, EX_CONFIG);
    assert_eq!(run(dir.path(), &["--bogus"]).0, CLAP_USAGE);
}

#[test]
fn a_new_broker_waits_until_a_killed_one_releases_the_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Process::start(dir.path());
    // A stopped process keeps its lock, as a killed one does until the system has freed its memory.
    first.signal(Signal::STOP);
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| Process::start(dir.path()));
        std::thread::sleep(Duration::from_millis(500)); // not a wait for an event: the second broker must still wait
        first.signal(Signal::KILL);
        second.join().unwrap()
    });
    std::net::TcpStream::connect(&second.address).unwrap();
}

#[test]
fn only_the_owner_may_read_files_of_the_data_directory() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    drop(Process::start(&dir));
    let mut checked = 0;
    let mut folders = vec![dir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            assert_eq!(metadata.permissions().mode() & 0o077, 0, "{entry:?}");
            checked += 1;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    assert!(checked > 5, "{checked}");
}

#[test]
fn a_directory_with_foreign_files_is_refused_and_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    std::fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let (code, said) = run(dir.path(), &["--amqp-listen", "127.0.0.1:0"]);
    assert_eq!(code, EX_CONFIG, "{said}");
    assert!(said.contains("'letter.txt'"), "{said}");
    let mode = dir.path().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
