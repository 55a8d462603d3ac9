//! The report of a verification, for people and for programs: findings with the names of queues. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use serde_json::{Value, json};

use crate::broker::definitions::QueueNames;
use crate::model::LogId;
use crate::store::{DamageKind, DamagedMessages, Effect, Finding, Place, Verification};

/// What a verification found, and how queues are called.
pub struct Report<'a> {
    pub verification: &'a Verification,
    pub names: &'a QueueNames,
}

impl Report<'_> {
    /// What was read.
    fn extent(&self) -> String {
        let Verification {
            bytes,
            files,
            entries,
            records,
            chunks,
            ..
        } = self.verification;
        format!(
            "{} were read: {files} files of the database, {records} records, {entries} entries of the log, {chunks} chunks of messages",
            binary(*bytes)
        )
    }

    /// Lines for people. `dir` is the data directory.
    pub fn text(&self, dir: &str) -> String {
        let verification = self.verification;
        let extent = self.extent();
        if verification.is_whole() {
            return format!("{dir} is whole. {extent}.");
        }
        let mut text = format!("{dir} is damaged. {extent}.\n");
        for finding in &verification.findings {
            // Writing to a string does not fail.
            writeln!(text, "- {}", self.line(finding)).unwrap_or_default();
        }
        if verification.left_off > 0 {
            let more = verification.left_off;
            writeln!(text, "- and {more} more findings").unwrap_or_default();
        }
        for ((vhost, queue), count) in self.queues() {
            let noun = messages(count);
            writeln!(
                text,
                "queue '{queue}' in virtual host '{vhost}': {noun} cannot be read"
            )
            .unwrap_or_default();
        }
        text.push_str(&self.prospect());
        text
    }

    fn line(&self, finding: &Finding) -> String {
        let Finding {
            effect,
            what,
            place,
            messages: hurt,
            ..
        } = finding;
        let bytes = place.as_ref().and_then(|place| place.bytes.as_ref());
        let bytes = bytes
            .filter(|_| finding.kind != DamageKind::Entry) // the text has them
            .map(|Range { start, end }| format!(" (bytes {start} to {end})"))
            .unwrap_or_default();
        let consequence = match (effect, hurt) {
            (Effect::Lost, Some(hurt)) => format!(
                ": {} of {}, offsets {} to {}",
                messages(hurt.count),
                self.name(hurt.log),
                hurt.offsets.start,
                hurt.offsets.end.saturating_sub(1)
            ),
            (Effect::Lost, None) => String::new(),
            (Effect::Mended, _) => "; nothing is lost by it, since there is a copy".to_owned(),
            (Effect::Refused, _) => "; a start is refused".to_owned(),
        };
        format!("{what}{bytes}{consequence}")
    }

    /// What the next start serves.
    fn prospect(&self) -> String {
        let all = &self.verification.findings;
        let count = self.verification.messages;
        if all.iter().any(|it| it.effect == Effect::Refused) {
            return "The broker does not start with this directory. Check the disk, and restore the directory from a backup."
                .to_owned();
        }
        let has_entries = all
            .iter()
            .any(|it| it.kind == DamageKind::Entry && it.effect == Effect::Lost);
        match (count, has_entries) {
            (0, false) => "All messages can be read.".to_owned(),
            (_, false) => format!(
                "{} cannot be read. All others are served.",
                capital(&messages(count))
            ),
            (_, true) => {
                "The next start keeps the damaged bytes in damaged/ and serves everything else."
                    .to_owned()
            }
        }
    }

    fn name(&self, log: LogId) -> String {
        match self.names.of(log) {
            Some((vhost, queue)) => format!("queue '{queue}' in virtual host '{vhost}'"),
            None => format!("log {}, whose queue has no definition", log.0),
        }
    }

    /// Unreadable messages by virtual host and queue.
    fn queues(&self) -> BTreeMap<(&str, &str), u64> {
        let mut counts = BTreeMap::new();
        let hurt = self.verification.findings.iter();
        for hurt in hurt.filter_map(|finding| finding.messages.as_ref()) {
            if let Some(name) = self.names.of(hurt.log) {
                *counts.entry(name).or_default() += hurt.count;
            }
        }
        counts
    }

    /// The same for programs.
    pub fn json(&self, dir: &str) -> Value {
        let Verification {
            bytes,
            files,
            entries,
            records,
            chunks,
            findings,
            left_off,
            messages,
            ..
        } = self.verification;
        let findings: Vec<Value> = findings.iter().map(|it| self.finding_json(it)).collect();
        let queues: Vec<Value> = self
            .queues()
            .into_iter()
            .map(|((vhost, name), count)| json!({"vhost": vhost, "name": name, "messages_damaged": count}))
            .collect();
        let result = match self.verification.is_whole() {
            true => "whole",
            false => "damaged",
        };
        json!({
            "data_dir": dir, "result": result,
            "read": {"bytes": bytes, "files": files, "records": records, "entries": entries, "chunks": chunks},
            "messages_damaged": messages, "queues": queues, "findings": findings, "findings_left_off": left_off,
        })
    }

    fn finding_json(&self, finding: &Finding) -> Value {
        let Finding {
            kind,
            effect,
            what,
            place,
            messages,
        } = finding;
        let place = place.as_ref().map(|Place { file, bytes }| {
            let bytes = bytes.as_ref().map(|it| [it.start, it.end]);
            json!({"file": file.to_string_lossy(), "bytes": bytes})
        });
        let messages = messages
            .as_ref()
            .map(|DamagedMessages { log, offsets, count }| {
                let (vhost, queue) = self.names.of(*log).unzip();
                json!({
                    "vhost": vhost, "queue": queue, "log": log.0, "offsets": [offsets.start, offsets.end], "count": count,
                })
            });
        json!({"kind": kind.word(), "effect": effect.word(), "what": what, "place": place, "messages": messages})
    }
}

fn messages(count: u64) -> String {
    match count {
        1 => "1 message".to_owned(),
        _ => format!("{count} messages"),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// A number of bytes in a unit that people read.
fn binary(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::QueueId;

    fn report(verification: &Verification) -> (String, Value) {
        let names = QueueNames::from_iter([(QueueId(7), "/".into(), "jobs".into())]);
        let report = Report {
            verification,
            names: &names,
        };
        (report.text("/data"), report.json("/data"))
    }

    fn finding(kind: DamageKind, effect: Effect, log: Option<LogId>) -> Finding {
        Finding {
            kind,
            effect,
            what: "3.log is hurt".to_owned(),
            place: Some(Place {
                file: "3.log".into(),
                bytes: Some(5..9),
            }),
            messages: log.map(|log| DamagedMessages {
                log,
                offsets: 10..13,
                count: 2,
            }),
        }
    }

    #[test]
    fn a_whole_directory_is_said_to_be_whole() {
        let (text, json) = report(&Verification {
            bytes: 2048,
            chunks: 3,
            ..Verification::default()
        });
        assert_eq!(
            text,
            "/data is whole. 2.00 KiB were read: 0 files of the database, 0 records, 0 entries of the log, 3 chunks of messages."
        );
        assert_eq!(json["result"], "whole");
    }

    #[test]
    fn damage_names_queues_and_says_what_a_start_serves() {
        let chunk = |log| finding(DamageKind::Chunk, Effect::Lost, Some(log));
        let mut found = Verification {
            findings: vec![chunk(QueueId(7).log(0)), chunk(QueueId(8).log(0))],
            messages: 4,
            ..Verification::default()
        };
        let (text, json) = report(&found);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "- 3.log is hurt (bytes 5 to 9): 2 messages of queue 'jobs' in virtual host '/', offsets 10 to 12",
                "- 3.log is hurt (bytes 5 to 9): 2 messages of log 4096, whose queue has no definition, offsets 10 to 12",
                "queue 'jobs' in virtual host '/': 2 messages cannot be read",
                "4 messages cannot be read. All others are served.",
            ]
        );
        assert_eq!(json["queues"][0]["messages_damaged"], 2);
        assert_eq!(json["findings"][0]["messages"]["queue"], "jobs");
        assert_eq!(json["findings"][1]["messages"]["queue"], Value::Null);
        found.findings = vec![finding(DamageKind::Entry, Effect::Lost, None)];
        assert!(report(&found).0.ends_with("serves everything else."));
        found.findings = vec![finding(DamageKind::Head, Effect::Mended, None)];
        found.messages = 0;
        assert!(report(&found).0.ends_with("All messages can be read."));
        found
            .findings
            .push(finding(DamageKind::Record, Effect::Refused, None));
        assert!(
            report(&found)
                .0
                .ends_with("restore the directory from a backup.")
        );
    }
}
