//! Names in certificates as text, exactly as RabbitMQ prints them: RFC 4514, with its own escapes.

use x509_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name};

/// RabbitMQ's names of attribute types. Others are shown by their numbers.
const TYPES: &[(&str, &str)] = &[
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.6", "C"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];
const COMMON_NAME: &str = "2.5.4.3";

/// The whole name, its last part first.
pub(super) fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name.iter().map(part).collect();
    parts.reverse();
    parts.join(",")
}

/// The common names, with commas between; `None` if there is none.
pub(super) fn common_names(name: &X509Name<'_>) -> Option<String> {
    let is_common = |attribute: &&AttributeTypeAndValue<'_>| {
        attribute.attr_type().to_id_string() == COMMON_NAME
    };
    let names: Vec<Vec<u8>> = name
        .iter_attributes()
        .filter(is_common)
        .map(|attribute| octets(attribute.attr_value()))
        .collect();
    let joined = String::from_utf8_lossy(&names.join(&b',')).into_owned();
    (!names.is_empty()).then_some(joined)
}

/// The text in a DER value of one of the string types.
pub(super) fn text_of_der(der: &[u8]) -> Option<String> {
    let (_, value) = Any::from_der(der).ok()?;
    let octets = decoded(value.tag(), value.data)?;
    String::from_utf8(octets).ok()
}

fn part(attributes: &RelativeDistinguishedName<'_>) -> String {
    let attributes: Vec<String> = attributes.iter().map(attribute).collect();
    attributes.join("+")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let id = attribute.attr_type().to_id_string();
    let known = TYPES.iter().find(|(known, _)| *known == id);
    let name = known.map_or(id.as_str(), |(_, name)| name);
    format!("{name}={}", escaped(&octets(attribute.attr_value())))
}

/// The value in UTF-8. A value of another type is its octets as an Erlang term.
fn octets(value: &Any<'_>) -> Vec<u8> {
    decoded(value.tag(), value.data).unwrap_or_else(|| {
        let numbers: Vec<String> = value.data.iter().map(u8::to_string).collect();
        format!("<<{}>>", numbers.join(",")).into_bytes()
    })
}

/// A string of any type in UTF-8; `None` if it is no string.
fn decoded(tag: Tag, data: &[u8]) -> Option<Vec<u8>> {
    let text: String = match tag {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            return Some(data.to_vec());
        }
        Tag::T61String => data.iter().map(|&octet| char::from(octet)).collect(),
        Tag::BmpString => {
            let (pairs, rest) = data.as_chunks::<2>();
            let units = pairs.iter().map(|&pair| u16::from_be_bytes(pair));
            let text: Result<String, _> = char::decode_utf16(units).collect();
            text.ok().filter(|_| rest.is_empty())?
        }
        Tag::UniversalString => {
            let (quads, rest) = data.as_chunks::<4>();
            let chars = quads
                .iter()
                .map(|&quad| char::from_u32(u32::from_be_bytes(quad)));
            chars
                .collect::<Option<String>>()
                .filter(|_| rest.is_empty())?
        }
        _ => return None,
    };
    Some(text.into_bytes())
}

/// Escapes what is special in RFC 4514, and all octets that are not printable ASCII.
fn escaped(octets: &[u8]) -> String {
    let mut text = String::new();
    let last = octets.len().saturating_sub(1);
    for (at, &octet) in octets.iter().enumerate() {
        match octet {
            b' ' | b'#' if at == 0 => text.push('\\'),
            b' ' if at == last => text.push('\\'),
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => text.push('\\'),
            0..32 | 126.. => {
                text.push_str(&format!("\\{octet:02X}"));
                continue;
            }
            _ => {}
        }
        text.push(char::from(octet));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_as_in_rabbitmq() {
        for (value, expected) in [
            ("plain", "plain"),
            ("", ""),
            (" ", "\\ "),
            ("#1 # ", "\\#1 #\\ "),
            ("a,b+c\"d\\e;f<g>h", "a\\,b\\+c\\\"d\\\\e\\;f\\<g\\>h"),
            ("é~\n", "\\C3\\A9\\7E\\0A"),
        ] {
            assert_eq!(escaped(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn strings_of_all_types_become_utf8() {
        for (tag, data, expected) in [
            (Tag::Utf8String, "é".as_bytes(), Some("é")),
            (Tag::T61String, b"\xe9", Some("é")),
            (Tag::BmpString, b"\0a\x03\xbb", Some("aλ")),
            (Tag::BmpString, b"\0a\x03", None),
            (Tag::UniversalString, b"\0\x01\xf6\x00", Some("😀")),
            (Tag::Integer, b"\x01", None),
        ] {
            let found = decoded(tag, data).map(|octets| String::from_utf8(octets).unwrap());
            assert_eq!(found.as_deref(), expected, "{tag:?}");
        }
    }
}
