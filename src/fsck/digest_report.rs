//! Digests of what a data directory holds, with the names of queues, for people and for programs. Pure.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::broker::definitions::QueueNames;
use crate::model::LogId;
use crate::store::{EntryId, LogDigest, StoreDigest};

/// The digests of a directory, and how queues are called.
pub(super) struct DigestReport<'a> {
    pub(super) dir: &'a str,
    pub(super) digest: &'a StoreDigest,
    pub(super) names: &'a QueueNames,
}

impl DigestReport<'_> {
    /// Lines for people, in the same order for each directory.
    pub(super) fn text(&self) -> String {
        let StoreDigest {
            entry, definitions, ..
        } = self.digest;
        let mut text = match entry {
            Some(entry) => format!("{} up to {}\n", self.dir, entry_text(*entry)),
            None => format!("{}\n", self.dir),
        };
        let mut line = |line: String| {
            // Writing to a string does not fail.
            writeln!(text, "{line}").unwrap_or_default();
        };
        line(format!("{} everything", self.digest.whole()));
        let count = definitions.len();
        line(format!(
            "{} {count} definitions",
            self.digest.of_definitions()
        ));
        for (log, of_log) in self.logs() {
            let LogDigest {
                messages,
                unreadable,
                ..
            } = of_log;
            let unreadable = match unreadable {
                0 => String::new(),
                _ => format!(" ({unreadable} of them cannot be read)"),
            };
            let (digest, name) = (of_log.whole(), log_text(self.names, log));
            line(format!("{digest} {name}: {messages} messages{unreadable}"));
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        let logs = self.logs().into_iter();
        let logs: Vec<Value> = logs
            .map(|(log, of_log)| {
                let (vhost, queue) = self.names.of(log).unzip();
                json!({
                    "vhost": vhost, "queue": queue, "log": log.0, "digest": of_log.whole().to_string(),
                    "messages": of_log.messages, "messages_damaged": of_log.unreadable,
                })
            })
            .collect();
        json!({
            "data_dir": self.dir, "entry": self.digest.entry.map(entry_json),
            "digest": self.digest.whole().to_string(),
            "definitions": {
                "count": self.digest.definitions.len(), "digest": self.digest.of_definitions().to_string(),
            },
            "logs": logs,
        })
    }

    /// The logs by the names of their queues.
    fn logs(&self) -> Vec<(LogId, LogDigest)> {
        let logs = self.digest.logs.iter();
        let mut logs: Vec<_> = logs.map(|(log, of_log)| (*log, *of_log)).collect();
        logs.sort_by_key(|(log, _)| (self.names.of(*log), *log));
        logs
    }
}

/// A log as people read it.
pub(super) fn log_text(names: &QueueNames, log: LogId) -> String {
    match names.of(log) {
        Some((vhost, queue)) if log == log.queue().log(0) => {
            format!("queue '{queue}' in virtual host '{vhost}'")
        }
        Some((vhost, queue)) => {
            format!("queue '{queue}' in virtual host '{vhost}' (log {})", log.0)
        }
        None => format!("log {}, whose queue has no definition", log.0),
    }
}

pub(super) fn entry_text(EntryId { term, index }: EntryId) -> String {
    format!("entry {index} of term {term}")
}

pub(super) fn entry_json(EntryId { term, index }: EntryId) -> Value {
    json!({"term": term, "index": index})
}
