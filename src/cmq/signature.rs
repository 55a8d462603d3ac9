//! Verifies the signatures of requests. Pure.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

use super::parameters::Parameters;

/// The only parameter that is not signed.
const SIGNATURE: &str = "Signature";

/// The signed parts of a request.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    /// `GET` or `POST`.
    pub(crate) method: &'a str,
    /// The `Host` header.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) parameters: &'a Parameters<'a>,
}

/// The first bytes of a right signature, enough to recognize it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verified(pub(crate) u64);

/// How known clients deviate from the rule.
#[derive(Clone, Copy)]
struct Variant<'a> {
    scheme: &'static str,
    host: &'a str,
    /// Leaves out parameters whose value begins with `@`, as several clients do in a POST.
    without_files: bool,
}

/// Returns the signature if it was made with `key`.
pub(crate) fn verify(signed: &Signed<'_>, key: &str) -> Option<Verified> {
    let given = signed.parameters.text(SIGNATURE)?;
    let given = BASE64_STANDARD.decode(given).ok()?;
    let first = given.first_chunk().copied().map(u64::from_be_bytes)?;
    let right = match signed.parameters.text("SignatureMethod") {
        Some("HmacSHA256") => any_variant::<Hmac<Sha256>>(signed, key, &given),
        _ => any_variant::<Hmac<Sha1>>(signed, key, &given),
    };
    right.then_some(Verified(first))
}

/// Whether the rule or a variant of it gives this signature. Variants: without values that begin with `@`, host without
/// port, host with scheme.
fn any_variant<M: Mac + KeyInit + Clone>(signed: &Signed<'_>, key: &str, given: &[u8]) -> bool {
    let Ok(keyed) = <M as KeyInit>::new_from_slice(key.as_bytes()) else {
        return false;
    };
    let may_leave_out = signed.method == "POST"
        && signed
            .parameters
            .iter()
            .any(|(_, value)| value.starts_with(b"@"));
    let bare = signed.host.rsplit_once(':').map(|(bare, _)| ("", bare));
    let hosts = [
        Some(("", signed.host)),
        bare,
        Some(("http://", signed.host)),
    ];
    hosts
        .into_iter()
        .flatten()
        .flat_map(|(scheme, host)| {
            [false, true].map(|without_files| Variant {
                scheme,
                host,
                without_files,
            })
        })
        .filter(|variant| !variant.without_files || may_leave_out)
        .any(|variant| {
            let mut mac = keyed.clone();
            feed(&mut mac, signed, variant);
            mac.verify_slice(given).is_ok()
        })
}

/// Feeds the signed text to `mac` without joining it: method, host, path, `?` and the parameters, with `_` in names as `.`.
fn feed(mac: &mut impl Mac, signed: &Signed<'_>, variant: Variant<'_>) {
    for part in [signed.method, variant.scheme, variant.host, signed.path] {
        mac.update(part.as_bytes());
    }
    let mut separator: &[u8] = b"?";
    for (name, value) in signed.parameters.iter() {
        if name == SIGNATURE.as_bytes() || (variant.without_files && value.starts_with(b"@")) {
            continue;
        }
        mac.update(separator);
        for (at, part) in name.split(|byte| *byte == b'_').enumerate() {
            if at > 0 {
                mac.update(b".");
            }
            mac.update(part);
        }
        mac.update(b"=");
        mac.update(value);
        separator = b"&";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "pPgfLipfEXZ7VcRzhAMIyPaU7UbQyFFx";
    const COMMON: &str = "Nonce=2889712707386595659&Timestamp=1534154812&RequestClient=SDK_Python_1.3\
                          &clientRequestId=1231231231&delaySeconds=0&queueName=test1&Action=SendMessage\
                          &SecretId=AKIDPcYDclDJCn8D0Xypa4f3pKYUCVYLn3zT";

    fn encoded(text: &str) -> String {
        form_urlencoded::byte_serialize(text.as_bytes()).collect()
    }

    fn check(method: &str, host: &str, path: &str, form: &str, signature: &str) -> bool {
        let form = format!("{form}&Signature={}", encoded(signature));
        let parameters = Parameters::parse(form.as_bytes(), 100).unwrap();
        let signed = Signed {
            method,
            host,
            path,
            parameters: &parameters,
        };
        assert_eq!(verify(&signed, "another key"), None);
        verify(&signed, KEY).is_some()
    }

    #[test]
    fn published_and_recorded_signatures_are_right() {
        let gz = "cmq-queue-gz.api.tencentyun.com";
        let local = "127.0.0.1:18081";
        for (method, host, algorithm, body, signature) in [
            // From the documentation of the API.
            (
                "POST",
                gz,
                "HmacSHA1",
                "msg",
                "C16WEtEXsD5v5tnaUMLAbZewXhI=",
            ),
            (
                "POST",
                gz,
                "HmacSHA256",
                "msg",
                "7aNNVzszJftqWPLvvnHU3lDznBYFPof7ACkTD3OJUu4=",
            ),
            ("GET", gz, "HmacSHA1", "msg", "fkR3mzm6NfEbQqgF0B+Fd4rFLtM="),
            (
                "POST",
                local,
                "HmacSHA256",
                "你好 a+b&c=d/%",
                "yr4wmYX6mHGixV0nMXCS/c8fiI7n9XXrgcxQizwouZQ=",
            ),
        ] {
            let form = format!(
                "{COMMON}&SignatureMethod={algorithm}&msgBody={}",
                encoded(body)
            );
            assert!(
                check(method, host, "/v2/index.php", &form, signature),
                "{signature}"
            );
            assert!(!check(method, host, "/v2/index", &form, signature));
            assert!(!check(method, "other", "/v2/index.php", &form, signature));
            assert!(!check(
                method,
                host,
                "/v2/index.php",
                &format!("{form}&x=1"),
                signature
            ));
        }
    }

    #[test]
    fn items_of_a_list_are_signed_in_byte_order() {
        let items: String = (1..=11).map(|n| format!("&msgBody.{n}=m{n}")).collect();
        let form = format!(
            "Action=BatchSendMessage&Nonce=1&SecretId=AKIDPcYDclDJCn8D0Xypa4f3pKYUCVYLn3zT\
             &SignatureMethod=HmacSHA1&Timestamp=1534154812&queueName=q1{items}"
        );
        let signature = "VTRdP+d5jqa2j4pQxPt4ToBeVs8=";
        assert!(check("POST", "127.0.0.1:18081", "/", &form, signature));
    }

    fn sign(text: &str) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(KEY.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        BASE64_STANDARD.encode(mac.finalize().into_bytes())
    }

    #[test]
    fn the_variants_of_known_clients_are_right() {
        let form = "Action=A&msg_body=x&file=@y";
        for (method, text, expected) in [
            ("POST", "POSThost:80/?Action=A&file=@y&msg.body=x", true),
            ("POST", "POSThost:80/?Action=A&msg.body=x", true),
            ("GET", "GEThost:80/?Action=A&msg.body=x", false),
            ("POST", "POSThost/?Action=A&file=@y&msg.body=x", true),
            (
                "POST",
                "POSThttp://host:80/?Action=A&file=@y&msg.body=x",
                true,
            ),
            ("POST", "POSThttp://host:80/?Action=A&msg.body=x", true),
            ("POST", "POSThost:80/?Action=A&file=@y&msg_body=x", false),
            ("POST", "posthost:80/?Action=A&file=@y&msg.body=x", false),
        ] {
            assert_eq!(
                check(method, "host:80", "/", form, &sign(text)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn an_unknown_method_means_sha1_and_a_missing_signature_is_wrong() {
        let form = "Action=A&SignatureMethod=MD5";
        let right = sign("GEThost/?Action=A&SignatureMethod=MD5");
        assert!(check("GET", "host", "/", form, &right));
        for wrong in ["", "!", "AAAA", right.trim_end_matches('=')] {
            assert!(!check("GET", "host", "/", form, wrong), "{wrong}");
        }
    }
}
