//! Progress for people on standard error: a bar on a terminal, a line every few seconds otherwise.

use std::io::{IsTerminal, Write, stderr};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use super::limits::LINE_EVERY;

const TEMPLATE: &str = "[{bar:40}] {pos}/{len} messages, {per_sec}, {eta} left";

pub(super) struct Show {
    bar: Option<ProgressBar>,
    last_line: Mutex<(Instant, u64)>,
}

impl Show {
    pub(super) fn new() -> Show {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                bar.set_style(style);
            }
            bar
        });
        Show {
            bar,
            last_line: Mutex::new((Instant::now(), 0)),
        }
    }

    /// Prints a line above the bar.
    pub(super) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| print(line)),
            None => print(line),
        }
    }

    /// `total` is what the queues had at first; with publishers at the source there may be more to move.
    pub(super) fn progress(&self, moved: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total.max(moved));
            bar.set_position(moved);
            return;
        }
        let mut last = self.last_line.lock();
        let (since, before) = *last;
        if since.elapsed() >= LINE_EVERY {
            let millis = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            let rate = moved.saturating_sub(before).saturating_mul(1000) / millis.max(1);
            print(&format!(
                "{moved} of {total} messages moved, {rate} per second"
            ));
            *last = (Instant::now(), moved);
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Progress that cannot be printed is no reason to stop.
fn print(line: &str) {
    drop(writeln!(stderr(), "{line}"));
}
