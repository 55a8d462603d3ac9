//! A bar on a terminal that shows how far a long verb has come.

use std::io::{IsTerminal, stderr};

use indicatif::ProgressStyle;

const TEMPLATE: &str = "[{bar:40}] {pos}/{len} {eta}";

/// A bar on standard error; nothing if that is no terminal.
pub(super) struct ProgressBar(indicatif::ProgressBar);

impl ProgressBar {
    pub(super) fn new(is_quiet: bool) -> ProgressBar {
        if is_quiet || !stderr().is_terminal() {
            return ProgressBar(indicatif::ProgressBar::hidden());
        }
        let bar = indicatif::ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        ProgressBar(bar)
    }

    pub(super) fn show(&self, done: usize, total: usize) {
        self.0.set_length(u64::try_from(total).unwrap_or(u64::MAX));
        self.0.set_position(u64::try_from(done).unwrap_or(u64::MAX));
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
