//! Parameters of requests. The API signs them in the order of bytes, so they are written in that order.

use std::io::Write;

use memchr::memmem;

use crate::random::Random;

/// Messages and handles in one request: the API's default limit.
pub(super) const BATCH: usize = 16;
/// Letters of bodies: none that a form has to escape.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.";
/// The text before each receipt handle.
const HANDLE: &str = "\"receiptHandle\":\"";

/// The parameters of a batch for `queue`. Bodies do not compress, and differ between connections.
pub(super) fn messages(size: usize, nth: usize, queue: &str) -> String {
    let mut names: Vec<usize> = (0..BATCH).collect();
    names.sort_unstable_by_key(|name| text_order(*name));
    let mut random = Random::new(nth as u64);
    let mut letter = || {
        let at = usize::try_from(random.below(LETTERS.len() as u64)).unwrap_or(0);
        LETTERS.get(at).copied().map_or('A', char::from)
    };
    let mut form = String::with_capacity(BATCH * (size + 16));
    for name in names {
        form.push_str(&format!("&msgBody.{name}="));
        form.extend((0..size).map(|_| letter()));
    }
    form.push_str(&format!("&queueName={queue}"));
    form
}

/// Adds the receipt handles in an answer to the parameters of a delete. Returns their number.
pub(super) fn add_handles(answer: &[u8], parameters: &mut Vec<u8>) -> u64 {
    let handles = || memmem::find_iter(answer, HANDLE);
    let count = handles().count();
    let mut names: Vec<usize> = (0..count).collect();
    names.sort_unstable_by_key(|name| text_order(*name));
    for (name, at) in names.iter().zip(handles()) {
        let handle = answer.get(at + HANDLE.len()..).unwrap_or_default();
        let end = memchr::memchr(b'"', handle).unwrap_or(0);
        // Writing to memory does not fail.
        write!(parameters, "&receiptHandle.{name}=").unwrap_or_default();
        parameters.extend_from_slice(handle.get(..end).unwrap_or_default());
    }
    count as u64
}

/// Orders numbers of up to three digits as their texts are ordered.
fn text_order(number: usize) -> (usize, usize) {
    match number {
        0..10 => (number * 100, 1),
        10..100 => (number * 10, 2),
        _ => (number, 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_in_the_order_of_bytes() {
        let form = messages(3, 0, "q");
        let names: Vec<&str> = form
            .split('&')
            .skip(1)
            .map(|pair| pair.split('=').next().unwrap())
            .collect();
        assert_eq!(names.len(), BATCH + 1);
        assert!(names.is_sorted() && names[2] == "msgBody.10");
    }

    #[test]
    fn handles_are_in_the_order_of_bytes() {
        let items: Vec<String> = (0..120)
            .map(|n| format!(r#"{{"msgBody":"x","receiptHandle":"{n}","dequeueCount":1}}"#))
            .collect();
        let answer = format!(r#"{{"code":0,"msgInfoList":[{}]}}"#, items.join(","));
        let mut form = Vec::new();
        assert_eq!(add_handles(answer.as_bytes(), &mut form), 120);
        let form = String::from_utf8(form).unwrap();
        let pairs: Vec<_> = form
            .split('&')
            .skip(1)
            .map(|pair| pair.split_once('=').unwrap())
            .collect();
        assert!(pairs.is_sorted() && pairs.len() == 120);
        assert_eq!(
            pairs[..3],
            [
                ("receiptHandle.0", "0"),
                ("receiptHandle.1", "1"),
                ("receiptHandle.10", "2")
            ]
        );
    }
}
