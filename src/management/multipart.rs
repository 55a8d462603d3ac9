//! Forms with a file, as browsers upload them: `multipart/form-data`. Reads the two fields that uploads of definitions
//! have. By hand, since crates for it read streams, and the body is in memory already.

use memchr::memmem;

/// The fields of an upload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Upload<'a> {
    pub(super) file: &'a [u8],
    /// Where a browser goes on to.
    pub(super) redirect: Option<&'a str>,
}

/// The boundary of a form's parts, if the content type is that of such a form.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut parameters = parameters.split(';');
    let boundary = parameters.find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    let boundary = boundary.trim_matches('"');
    (!boundary.is_empty()).then_some(boundary)
}

impl<'a> Upload<'a> {
    /// The fields of a form's body; `None` without a file.
    pub(super) fn parse(body: &'a [u8], boundary: &str) -> Option<Upload<'a>> {
        let delimiter = format!("\r\n--{boundary}");
        let first = delimiter.as_bytes().get(2..)?;
        let mut rest = body.get(memmem::find(body, first)? + first.len()..)?;
        let (mut file, mut redirect) = (None, None);
        while let Some(part) = rest.strip_prefix(b"\r\n") {
            let end = memmem::find(part, delimiter.as_bytes())?;
            let (part, after) = part.split_at(end);
            rest = after.get(delimiter.len()..)?;
            let head_end = memmem::find(part, b"\r\n\r\n")?;
            let (head, content) = part.split_at(head_end);
            let content = content.get(4..)?;
            match field_name(std::str::from_utf8(head).ok()?) {
                Some("file") => file = Some(content),
                Some("redirect") => redirect = std::str::from_utf8(content).ok(),
                Some(_) | None => {}
            }
        }
        Some(Upload {
            file: file?,
            redirect,
        })
    }
}

/// The name of a field in the headers of its part.
fn field_name(head: &str) -> Option<&str> {
    let mut lines = head.split("\r\n");
    let disposition = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    })?;
    disposition.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        (name == "name").then(|| value.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_in_the_content_type() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            (
                "Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"",
                Some("a b"),
            ),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("application/json; boundary=abc", None),
        ] {
            assert_eq!(boundary(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn fields_are_taken_out_of_a_form() {
        let form = b"--abc\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.json\"\r\n\
            Content-Type: application/json\r\n\r\n{\r\n}\r\n--abc\r\ncontent-disposition: form-data; name=redirect\r\n\r\n\
            /#x\r\n--abc--\r\n";
        assert_eq!(
            Upload::parse(form, "abc"),
            Some(Upload {
                file: b"{\r\n}",
                redirect: Some("/#x")
            })
        );
        let no_file = b"--abc\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--abc--";
        assert_eq!(Upload::parse(no_file, "abc"), None);
        let cut = form.get(..form.len() - 20).unwrap();
        for broken in [
            &b""[..],
            b"--abc",
            b"--abc\r\n",
            b"--abc\r\nx\r\n--abc--",
            cut,
        ] {
            assert_eq!(Upload::parse(broken, "abc"), None, "{broken:?}");
        }
    }
}
