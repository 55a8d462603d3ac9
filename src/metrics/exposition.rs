//! The text formats of Prometheus: 0.0.4, which RabbitMQ speaks, and OpenMetrics 1.0.0. They differ in the names of
//! counters, in untyped metrics and in the last line.
//!
//! By hand, although prometheus-client writes both: it writes a whole registry before the first byte leaves, and metrics per
//! object must be written in pieces while the client reads, in bounded memory.

use std::fmt::{Display, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus text 0.0.4.
    Text,
    OpenMetrics,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Untyped,
}

/// Writes metrics as text.
#[derive(Debug)]
pub(super) struct Exposition {
    format: Format,
    text: String,
}

/// Labels of a sample: names and values.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Exposition {
    pub(super) fn new(format: Format) -> Exposition {
        Exposition {
            format,
            text: String::new(),
        }
    }

    /// Begins a family. Its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind_name = match (kind, self.format) {
            (Kind::Counter, _) => "counter",
            (Kind::Gauge, _) => "gauge",
            (Kind::Histogram, _) => "histogram",
            (Kind::Untyped, Format::Text) => "untyped",
            (Kind::Untyped, Format::OpenMetrics) => "unknown",
        };
        let name = match (kind, self.format) {
            (Kind::Counter, Format::OpenMetrics) => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        self.push(format_args!(
            "# TYPE {name} {kind_name}\n# HELP {name} {help}\n"
        ));
    }

    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            self.push(format_args!("{before}{label}=\""));
            self.escaped(text);
            self.text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.push(format_args!("{end} {value}\n"));
    }

    /// A family with one sample.
    pub(super) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The samples of a histogram. `buckets` have upper bounds, as text, and the counts of values up to them and above
    /// the bound before; the last one has none.
    pub(super) fn histogram<'a>(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        buckets: impl IntoIterator<Item = (Option<&'a str>, u64)>,
        sum: impl Display,
    ) {
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (bound, more) in buckets {
            count += more;
            let mut labels = labels.to_vec();
            labels.push(("le", bound.unwrap_or("+Inf")));
            self.sample(&bucket, &labels, count);
        }
        self.sample(&format!("{name}_count"), labels, count);
        self.sample(&format!("{name}_sum"), labels, sum);
    }

    /// Ends the whole text.
    pub(super) fn end(&mut self) {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Takes the text so far.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    fn escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            }
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        self.text.write_fmt(text).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        let mut out = Exposition::new(format);
        out.single("x_total", Kind::Counter, "How many.", 3);
        out.family("y", Kind::Untyped, "Odd.");
        out.sample("y", &[("queue", "a\"b\\c\nd"), ("vhost", "/")], 0.5);
        out.end();
        out.take()
    }

    #[test]
    fn both_formats_name_counters_and_untyped_metrics_their_own_way() {
        let odd = "# HELP y Odd.\ny{queue=\"a\\\"b\\\\c\\nd\",vhost=\"/\"} 0.5\n";
        assert_eq!(
            written(Format::Text),
            format!(
                "# TYPE x_total counter\n# HELP x_total How many.\nx_total 3\n# TYPE y untyped\n{odd}"
            )
        );
        assert_eq!(
            written(Format::OpenMetrics),
            format!(
                "# TYPE x counter\n# HELP x How many.\nx_total 3\n# TYPE y unknown\n{odd}# EOF\n"
            )
        );
    }

    #[test]
    fn the_buckets_of_a_histogram_add_up() {
        let mut out = Exposition::new(Format::Text);
        let buckets = [(Some("1"), 2), (Some("5"), 0), (None, 3)];
        out.histogram("h", &[("p", "q")], buckets, 40);
        let expected = "h_bucket{p=\"q\",le=\"1\"} 2\nh_bucket{p=\"q\",le=\"5\"} 2\n\
                        h_bucket{p=\"q\",le=\"+Inf\"} 5\nh_count{p=\"q\"} 5\nh_sum{p=\"q\"} 40\n";
        assert_eq!(out.take(), expected);
    }
}
