//! What a terminal shows while a verb takes long: a spinner, or a bar once the broker tells how far it has come.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::ProgressStyle;

const BAR: &str = "[{bar:40}] {pos}/{len} {eta}";
const BAR_OF_BYTES: &str = "[{bar:40}] {bytes}/{total_bytes} {eta}";
const SPINNER: &str = "{spinner} {elapsed}";
/// The first sign comes after this time, so verbs that are quick show none.
const EVERY: Duration = Duration::from_millis(200);

/// A bar on standard error; nothing if that is no terminal.
pub(super) struct ProgressBar {
    bar: indicatif::ProgressBar,
    has_length: bool,
    template: &'static str,
}

impl ProgressBar {
    pub(super) fn new(is_quiet: bool) -> ProgressBar {
        let is_shown = !is_quiet && stderr().is_terminal();
        let bar = match is_shown {
            true => indicatif::ProgressBar::no_length(),
            false => indicatif::ProgressBar::hidden(),
        };
        let bar = ProgressBar {
            bar,
            has_length: false,
            template: BAR,
        };
        bar.style(SPINNER);
        if is_shown {
            bar.bar.enable_steady_tick(EVERY);
        }
        bar
    }

    /// Shows bytes in place of steps.
    pub(super) fn in_bytes(mut self) -> ProgressBar {
        self.template = BAR_OF_BYTES;
        self
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    pub(super) fn show(&mut self, done: usize, total: usize) {
        if !self.has_length {
            self.has_length = true;
            self.style(self.template);
        }
        self.bar
            .set_length(u64::try_from(total).unwrap_or(u64::MAX));
        self.bar
            .set_position(u64::try_from(done).unwrap_or(u64::MAX));
    }

    /// Takes it off the terminal, so that output can follow.
    pub(super) fn clear(&self) {
        if !self.bar.is_finished() {
            self.bar.finish_and_clear();
        }
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.clear();
    }
}
