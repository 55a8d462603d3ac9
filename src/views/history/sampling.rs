//! Takes samples of what is looked at.

use std::sync::Arc;
use std::time::Duration;

use super::samples::{History, Sample};
use super::subject::Subject;
use super::watched::{Depth, Watched};
use crate::views::sources::Views;

/// Interval of the samples, as in RabbitMQ.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

impl Views {
    /// The samples of a subject up to now; none if it does not exist. Looking makes the broker take samples of it for
    /// some minutes.
    pub fn history(&self, subject: &Subject, depth: Depth) -> History {
        let now_ms = self.broker.clock().now_ms();
        let known = self.watched.lock().look(subject, depth, now_ms);
        let samples = known.unwrap_or_else(|| {
            let Some(values) = self.values(subject) else {
                return Vec::new();
            };
            let sample = Sample {
                at_ms: now_ms,
                values,
            };
            self.watched.lock().begin(subject, depth, sample);
            vec![sample]
        });
        History::new(samples, self.broker.clock())
    }

    /// Forgets all samples: rates and histories begin anew.
    pub fn forget_samples(&self) {
        *self.watched.lock() = Watched::new();
    }

    /// Takes samples at each interval. Never returns.
    pub async fn take_samples(self: Arc<Views>) {
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sample();
        }
    }

    /// Takes one sample of everything that is looked at. Holds no lock of the samples while it reads the numbers.
    fn sample(&self) {
        let now_ms = self.broker.clock().now_ms();
        let subjects = self.watched.lock().subjects(now_ms);
        for subject in subjects {
            let sample = self.values(&subject).map(|values| Sample {
                at_ms: now_ms,
                values,
            });
            self.watched.lock().put(&subject, sample);
        }
    }
}
