//! The queues of the source, and which of them are moved. Pure.

use regex::Regex;
use serde::Serialize;
use serde_json::Value;

/// The columns that [`queues`] reads.
pub(super) const PATH: &str = "api/queues?columns=name,vhost,type,messages_ready,messages_unacknowledged,messages,\
                               consumers,exclusive,owner_pid_details,arguments,state";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum QueueKind {
    Classic,
    Quorum,
    Stream,
}

/// A queue of the source as its management API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceQueue {
    pub(super) vhost: String,
    pub(super) name: String,
    pub(super) kind: QueueKind,
    /// Ready and unacked messages; those of a stream are all that it has.
    pub(super) messages: u64,
    pub(super) unacked: u64,
    pub(super) consumers: u64,
    /// Why its messages cannot be moved.
    pub(super) obstacle: Option<&'static str>,
}

/// All queues in a list of the management API.
pub(super) fn queues(rows: &Value) -> Result<Vec<SourceQueue>, String> {
    let rows = rows.as_array().ok_or("it is no list")?;
    rows.iter().map(queue).collect()
}

fn queue(row: &Value) -> Result<SourceQueue, String> {
    let text = |key: &str| row.get(key).and_then(Value::as_str);
    let number = |key: &str| row.get(key).and_then(Value::as_u64).unwrap_or_default();
    let (Some(vhost), Some(name)) = (text("vhost"), text("name")) else {
        return Err(format!("a queue without a name: {row}"));
    };
    let kind = match text("type") {
        Some("quorum" | "rabbit_quorum_queue") => QueueKind::Quorum,
        Some("stream" | "rabbit_stream_queue") => QueueKind::Stream,
        Some(_) | None => QueueKind::Classic,
    };
    // RabbitMQ shows the owner of an exclusive queue; some versions show the property itself.
    let is_exclusive = row.get("exclusive").and_then(Value::as_bool) == Some(true)
        || row.get("owner_pid_details").is_some_and(Value::is_object);
    let has_one_consumer = row
        .pointer("/arguments/x-single-active-consumer")
        .and_then(Value::as_bool)
        == Some(true);
    let consumers = number("consumers");
    let obstacle = if is_exclusive {
        Some("it is exclusive: it ends with its connection")
    } else if has_one_consumer && consumers > 0 {
        Some("its single active consumer is connected to the source: stop it and run again")
    } else {
        None
    };
    Ok(SourceQueue {
        vhost: vhost.to_owned(),
        name: name.to_owned(),
        kind,
        messages: number("messages"),
        unacked: number("messages_unacknowledged"),
        consumers,
        obstacle,
    })
}

/// Whether the options choose a queue.
pub(super) fn is_chosen(queue: &SourceQueue, vhosts: &[String], names: Option<&Regex>) -> bool {
    let in_vhost = vhosts.is_empty() || vhosts.contains(&queue.vhost);
    in_vhost && names.is_none_or(|names| names.is_match(&queue.name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_of_queues_are_read() {
        let rows = json!([
            {"vhost": "/", "name": "a", "type": "classic", "messages": 7, "messages_unacknowledged": 2, "consumers": 1},
            {"vhost": "v", "name": "b", "type": "quorum", "arguments": {"x-single-active-consumer": true}, "consumers": 1},
            {"vhost": "v", "name": "c", "type": "stream", "owner_pid_details": "undefined"},
            {"vhost": "v", "name": "d", "owner_pid_details": {"name": "c1"}},
        ]);
        let queues = queues(&rows).unwrap();
        let shown: Vec<_> = queues
            .iter()
            .map(|queue| (queue.kind, queue.obstacle.is_some()))
            .collect();
        assert_eq!(
            shown,
            [
                (QueueKind::Classic, false),
                (QueueKind::Quorum, true),
                (QueueKind::Stream, false),
                (QueueKind::Classic, true),
            ]
        );
        assert_eq!(
            queues.first().map(|queue| (queue.messages, queue.unacked)),
            Some((7, 2))
        );
        let chosen = |vhosts: &[&str], names: Option<&str>| {
            let vhosts: Vec<String> = vhosts.iter().map(ToString::to_string).collect();
            let names = names.map(|names| Regex::new(names).unwrap());
            let is_in = |queue: &&SourceQueue| is_chosen(queue, &vhosts, names.as_ref());
            queues
                .iter()
                .filter(is_in)
                .map(|queue| queue.name.clone())
                .collect::<String>()
        };
        assert_eq!(chosen(&[], None), "abcd");
        assert_eq!(chosen(&["v"], Some("[bd]")), "bd");
        assert!(super::queues(&json!({})).is_err());
        assert!(super::queues(&json!([{"name": "x"}])).is_err());
    }
}
