//! The log: one line per event on standard error. The last lines stay in memory, and the level can change while the broker
//! runs.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write, stderr};
use std::sync::{LazyLock, OnceLock};

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, LogLevel};

/// Maximum number of lines in memory.
pub const LINES_MAX: usize = 1000;
/// Bytes of a line in memory; the rest of a longer line is cut off.
pub const LINE_BYTES_MAX: usize = 4096;

/// The last lines of this process.
static LAST_LINES: LazyLock<LastLines> = LazyLock::new(LastLines::default);
/// Sets the level of this process; empty until [`init`].
static SET_FILTER: OnceLock<Box<SetFilter>> = OnceLock::new();

type SetFilter = dyn Fn(EnvFilter) -> bool + Send + Sync;

/// Starts to log. As JSON, each line is an object with `timestamp`, `level`, `message` and the fields of the event, such as
/// `connection`, `peer`, `user` and `vhost`.
pub fn init(level: LogLevel, format: LogFormat) {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Lines)
        .with_target(false)
        .with_env_filter(filter(Some(level)));
    let set_filter: Box<SetFilter> = match format {
        LogFormat::Text => {
            let subscriber = subscriber
                .with_ansi(stderr().is_terminal())
                .with_filter_reloading();
            let handle = subscriber.reload_handle();
            subscriber.init();
            Box::new(move |filter| handle.reload(filter).is_ok())
        }
        LogFormat::Json => {
            let subscriber = subscriber
                .json()
                .flatten_event(true)
                .with_filter_reloading();
            let handle = subscriber.reload_handle();
            subscriber.init();
            Box::new(move |filter| handle.reload(filter).is_ok())
        }
    };
    drop(SET_FILTER.set(set_filter));
}

/// Sets the level from now on; `None` logs nothing. False if this process does not log.
pub fn set_level(level: Option<LogLevel>) -> bool {
    SET_FILTER.get().is_some_and(|set| set(filter(level)))
}

/// The last lines of this process.
pub fn last_lines() -> &'static LastLines {
    &LAST_LINES
}

/// Of libraries only warnings and errors are logged. openraft warns of each call to a member that is gone, which
/// `cluster::raft` says once a minute.
fn filter(level: Option<LogLevel>) -> EnvFilter {
    EnvFilter::new(match level {
        None => "off",
        Some(LogLevel::Error) => "error",
        Some(LogLevel::Warn) => "warn,openraft=error",
        Some(LogLevel::Info) => "warn,openraft=error,leveret=info",
        Some(LogLevel::Debug) => "warn,leveret=debug",
        Some(LogLevel::Trace) => "warn,leveret=trace",
    })
}

/// The last lines of a log. Each has a number, one higher than the line before.
#[derive(Debug)]
pub struct LastLines {
    lines: Mutex<VecDeque<String>>,
    /// How many lines there were.
    count: watch::Sender<u64>,
}

impl Default for LastLines {
    fn default() -> LastLines {
        LastLines {
            lines: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }
}

impl LastLines {
    /// Adds the lines of a text. The oldest ones make room.
    fn push(&self, text: &str) {
        let mut lines = self.lines.lock();
        for line in text.lines() {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            let mut plain = without_colours(line);
            plain.truncate(plain.floor_char_boundary(LINE_BYTES_MAX));
            lines.push_back(plain);
            self.count.send_modify(|count| *count += 1);
        }
    }

    /// The last `wanted` lines, or all of them.
    pub fn last(&self, wanted: usize) -> Vec<String> {
        let lines = self.lines.lock();
        let skipped = lines.len().saturating_sub(wanted);
        lines.iter().skip(skipped).cloned().collect()
    }

    /// How many lines there were; changes with each further one.
    pub fn count(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// The lines after the first `count`, as far as they are in memory, and how many lines there were.
    pub fn since(&self, count: u64) -> (Vec<String>, u64) {
        let lines = self.lines.lock();
        let now = *self.count.borrow();
        let wanted = usize::try_from(now.saturating_sub(count)).unwrap_or(usize::MAX);
        let skipped = lines.len().saturating_sub(wanted);
        (lines.iter().skip(skipped).cloned().collect(), now)
    }
}

/// Drops the sequences that colour a line on a terminal.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, sequence)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        let end = sequence.find(|c: char| c.is_ascii_alphabetic());
        rest = end.and_then(|end| sequence.get(end + 1..)).unwrap_or("");
    }
    plain + rest
}

/// Writes each event to standard error, and adds it to the last lines.
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        Lines
    }
}

impl Write for Lines {
    /// The formatter writes an event as a whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        last_lines().push(&String::from_utf8_lossy(event));
        stderr().write_all(event)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_bounded_in_number_and_length() {
        let log = LastLines::default();
        for number in 0..=LINES_MAX {
            log.push(&format!("line {number}\n"));
        }
        let all = log.last(usize::MAX);
        assert_eq!((all.len(), all[0].as_str()), (LINES_MAX, "line 1"));
        assert_eq!(log.last(1), [format!("line {LINES_MAX}")]);
        log.push(&"ü".repeat(LINE_BYTES_MAX));
        assert_eq!(log.last(1)[0].len(), LINE_BYTES_MAX);
    }

    #[test]
    fn a_reader_gets_what_came_since_its_last_line() {
        let log = LastLines::default();
        log.push("a\nb\n");
        let (lines, count) = log.since(0);
        assert_eq!((lines, count), (vec!["a".to_owned(), "b".to_owned()], 2));
        assert_eq!(log.since(count), (vec![], 2));
        log.push("c");
        assert_eq!(log.since(count).0, ["c"]);
    }

    #[test]
    fn colours_are_dropped() {
        assert_eq!(
            without_colours("\x1b[2m12:00\x1b[0m \x1b[32mINFO\x1b[0m x"),
            "12:00 INFO x"
        );
        assert_eq!(without_colours("a\x1b[2"), "a");
    }
}
