//! Answers: one JSON object, written as it is made. Strings are strings and integers integers exactly as the API
//! lists them; several clients depend on it.

use std::fmt::Write;

use super::error::CmqError;

/// What identifies a request in its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId {
    /// Ours: a number that answers carry as text.
    pub(crate) own: u64,
    /// The client's, if it sent a number; sent back as a number, which is what the Go client reads.
    pub(crate) client: Option<u64>,
}

/// An object that is being written: an answer, or an item in one.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    json: &'a mut String,
    empty: bool,
}

/// An answer that is being written.
#[derive(Debug)]
pub(crate) struct Response {
    json: String,
}

impl Response {
    /// `code` 0; the fields of the action follow.
    pub(crate) fn success(request: RequestId) -> Response {
        Response::begin(request, 0, "")
    }

    /// An error; fields may follow.
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

    /// Makes room for so many bytes more.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.json.reserve(bytes);
    }

    /// Adds fields.
    pub(crate) fn with(mut self, fields: impl FnOnce(&mut Object<'_>)) -> Response {
        fields(&mut Object {
            json: &mut self.json,
            empty: false,
        });
        self
    }

    /// The whole JSON text.
    pub(crate) fn finish(mut self) -> String {
        self.json.push('}');
        self.json
    }
}

/// The text of an object.
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

    /// A string.
    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.key(name);
        quote(self.json, value);
        self
    }

    /// What is shown by itself and needs no escaping, as a string.
    pub(crate) fn display(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        self.key(name);
        // Writing to a String does not fail.
        write!(self.json, "\"{value}\"").unwrap_or_default();
        self
    }

    /// An integer.
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

/// Appends a JSON string. What needs no escape is copied in one piece.
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

/// The first byte that cannot stand in a JSON string as it is.
fn first_escaped(bytes: &[u8]) -> Option<usize> {
    /// So many bytes are looked at together, without a branch for each.
    const TOGETHER: usize = 32;
    let needs = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let plain = bytes
        .chunks_exact(TOGETHER)
        .take_while(|chunk| !chunk.iter().fold(false, |any, byte| any | needs(byte)))
        .count()
        * TOGETHER;
    let rest = bytes.get(plain..)?;
    rest.iter().position(needs).map(|at| plain + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: RequestId = RequestId {
        own: 7,
        client: None,
    };

    #[test]
    fn strings_are_strings_and_integers_integers() {
        let answer = Response::success(REQUEST).with(|object| {
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
            answer.finish(),
            r#"{"code":0,"message":"","requestId":"7","msgId":"12","count":3,"list":[{"n":1,"id":"1"},{"n":2,"id":"2"}],"none":[],"tags":["a","b"]}"#
        );
    }

    #[test]
    fn failures_name_the_module_first() {
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
    fn any_text_comes_back() {
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
