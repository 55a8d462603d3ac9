//! The JSON of a response, written field by field. Strings are strings and integers are integers exactly as the API lists
//! them; several clients depend on it.
//!
//! By hand, because bodies are large and most need no escaping: here 32 bytes are examined together, where `serde_json`
//! examines each byte.

use std::fmt::Write;

use super::error::CmqError;

/// Identifies a request in its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId {
    /// The broker's number. The response has it as text.
    pub(crate) own: u64,
    /// The client's, if it sent a number. The response has it as a number, which the Go client expects.
    pub(crate) client: Option<u64>,
}

impl RequestId {
    pub(super) fn new(own: u64) -> RequestId {
        RequestId { own, client: None }
    }
}

/// An object that is being written: a response, or an item in one.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    json: &'a mut String,
    empty: bool,
}

/// A response that is being written.
#[derive(Debug)]
pub(crate) struct Response {
    json: String,
}

impl Response {
    /// Begins with `code` 0.
    pub(crate) fn success(request: RequestId) -> Response {
        Response::begin(request, 0, "")
    }

    /// Begins with the code and message of an error.
    pub(crate) fn failure(request: RequestId, error: &CmqError) -> Response {
        Response::begin(request, error.code(), &error.message())
    }

    fn begin(request: RequestId, code: u16, message: &str) -> Response {
        let mut json = String::with_capacity(256);
        let mut object = Object::open(&mut json);
        object
            .number("code", u64::from(code))
            .text("message", message)
            .display("requestId", request.own);
        if let Some(client) = request.client {
            object.number("clientRequestId", client);
        }
        Response { json }
    }

    /// Reserves memory for this many more bytes.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.json.reserve(bytes);
    }

    pub(crate) fn with(mut self, fields: impl FnOnce(&mut Object<'_>)) -> Response {
        fields(&mut Object {
            json: &mut self.json,
            empty: false,
        });
        self
    }

    pub(crate) fn finish(mut self) -> String {
        self.json.push('}');
        self.json
    }
}

/// The JSON of an object that is no response.
pub(crate) fn object(fields: impl FnOnce(&mut Object<'_>)) -> String {
    let mut json = String::with_capacity(256);
    fields(&mut Object::open(&mut json));
    json.push('}');
    json
}

impl<'a> Object<'a> {
    fn open(json: &'a mut String) -> Object<'a> {
        json.push('{');
        Object { json, empty: true }
    }

    fn key(&mut self, name: &str) {
        if !self.empty {
            self.json.push(',');
        }
        self.empty = false;
        self.json.push('"');
        self.json.push_str(name);
        self.json.push_str("\":");
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.key(name);
        quote(self.json, value);
        self
    }

    /// A string whose text needs no escaping.
    pub(crate) fn display(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        self.key(name);
        // Writing to a String does not fail.
        write!(self.json, "\"{value}\"").unwrap_or_default();
        self
    }

    pub(crate) fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.key(name);
        write!(self.json, "{value}").unwrap_or_default();
        self
    }

    /// An array of objects, one for each item.
    pub(crate) fn objects<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut fields: impl FnMut(&mut Object<'_>, T),
    ) -> &mut Self {
        self.key(name);
        self.json.push('[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.json.push(',');
            }
            fields(&mut Object::open(self.json), item);
            self.json.push('}');
        }
        self.json.push(']');
        self
    }

    /// An array of strings.
    pub(crate) fn texts<T: AsRef<str>>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        self.key(name);
        self.json.push('[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.json.push(',');
            }
            quote(self.json, item.as_ref());
        }
        self.json.push(']');
        self
    }
}

/// Appends a JSON string. Copies the text between two escaped characters in one piece.
fn quote(json: &mut String, text: &str) {
    json.push('"');
    let mut rest = text;
    while let Some(at) = first_escaped(rest.as_bytes()) {
        let (plain, tail) = rest.split_at(at);
        json.push_str(plain);
        let mut chars = tail.chars();
        match chars.next() {
            Some('"') => json.push_str("\\\""),
            Some('\\') => json.push_str("\\\\"),
            Some('\n') => json.push_str("\\n"),
            Some('\r') => json.push_str("\\r"),
            Some('\t') => json.push_str("\\t"),
            Some(control) => write!(json, "\\u{:04x}", u32::from(control)).unwrap_or_default(),
            None => {}
        }
        rest = chars.as_str();
    }
    json.push_str(rest);
    json.push('"');
}

/// The position of the first byte that a JSON string has to escape.
fn first_escaped(bytes: &[u8]) -> Option<usize> {
    /// Bytes that are examined together, without a branch for each.
    const CHUNK_BYTES: usize = 32;
    let needs_escape = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let plain = bytes
        .chunks_exact(CHUNK_BYTES)
        .take_while(|chunk| {
            !chunk
                .iter()
                .fold(false, |any, byte| any | needs_escape(byte))
        })
        .count()
        * CHUNK_BYTES;
    let rest = bytes.get(plain..)?;
    rest.iter().position(needs_escape).map(|at| plain + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: RequestId = RequestId {
        own: 7,
        client: None,
    };

    #[test]
    fn strings_are_strings_and_integers_are_integers() {
        let response = Response::success(REQUEST).with(|object| {
            object
                .text("msgId", "12")
                .number("count", 3)
                .objects("list", [1, 2], |item, n| {
                    item.number("n", n).display("id", n);
                })
                .objects("none", [0; 0], |_, _| ())
                .texts("tags", ["a", "b"]);
        });
        assert_eq!(
            response.finish(),
            r#"{"code":0,"message":"","requestId":"7","msgId":"12","count":3,"list":[{"n":1,"id":"1"},{"n":2,"id":"2"}],"none":[],"tags":["a","b"]}"#
        );
    }

    #[test]
    fn the_message_of_a_failure_begins_with_the_module_code() {
        let request = RequestId {
            client: Some(5),
            ..REQUEST
        };
        assert_eq!(
            Response::failure(request, &CmqError::NoMessage).finish(),
            r#"{"code":7000,"message":"(10200)no message","requestId":"7","clientRequestId":5}"#
        );
    }

    #[test]
    fn any_text_is_read_back_by_a_json_parser() {
        for text in [
            "",
            "plain",
            "\"\\\n\r\t\u{1}\u{1f}\u{7f}",
            "你好\"",
            "\\",
            "a\u{0}b",
            "a text that is longer than what is looked at together: \"quoted\" at last, and plain to the end",
            "32 plain bytes and then a quote\" and 32 plain bytes and then some",
        ] {
            let mut json = String::new();
            quote(&mut json, text);
            let back: String = serde_json::from_str(&json).unwrap();
            assert_eq!(back, text);
        }
    }
}
