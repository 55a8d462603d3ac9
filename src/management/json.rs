//! Bodies of requests and responses. Reads what RabbitMQ takes: any content type, nothing or `null` for an empty
//! object, and strings in place of booleans and numbers.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

use super::api::{Api, Shared};
use super::error::ApiError;
use super::limits::{BODY_BYTES_MAX, BODY_TIMEOUT, DISCARDED_BYTES_MAX, LARGE_BODY_BYTES};
use crate::wire::{FieldTable, table_from_json};

/// What most handlers return.
pub(super) type Answer<T> = Result<Json<T>, ApiError>;

/// JSON: as an argument the object in the body of the request, as a result the body of the response.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Shared) -> Result<Json<T>, ApiError> {
        let RawBody(bytes) = RawBody::from_request(request, api).await?;
        decode(&bytes).map(Json)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// The bytes of a body.
pub(super) struct RawBody(pub(super) Bytes);

/// The place of a request's large body, kept until the request is answered. Dropping it makes room for another.
#[derive(Clone, Default)]
pub(super) struct BodyPlace(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl FromRequest<Shared> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Shared) -> Result<RawBody, ApiError> {
        let place = request.extensions().get::<BodyPlace>().cloned();
        let place = place.unwrap_or_default();
        let mut body = request.into_body();
        match read(api, &mut body, &place).await? {
            Some(bytes) => Ok(RawBody(bytes)),
            None => {
                // A client that is still writing would see a reset connection instead of the response.
                drop(timeout(BODY_TIMEOUT, discard(&mut body)).await);
                Err(bad_request("Exceeded HTTP request body size limit"))
            }
        }
    }
}

/// Reads a body. `None` if it is too large.
async fn read(api: &Api, body: &mut Body, place: &BodyPlace) -> Result<Option<Bytes>, ApiError> {
    let mut patience = BODY_TIMEOUT;
    let mut bytes = BytesMut::new();
    loop {
        let begun = Instant::now();
        let frame = timeout(patience, body.frame()).await;
        patience = patience.saturating_sub(begun.elapsed());
        let frame = frame.map_err(|_| bad_request("the request body took too long"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| bad_request("the request body cannot be read"))?;
        let Ok(piece) = frame.into_data() else {
            continue; // Trailers mean nothing here.
        };
        if bytes.len() + piece.len() > BODY_BYTES_MAX {
            return Ok(None);
        }
        if bytes.len() <= LARGE_BODY_BYTES && bytes.len() + piece.len() > LARGE_BODY_BYTES {
            let places = Arc::clone(&api.large_bodies);
            *place.0.lock() = places.acquire_owned().await.ok();
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes.freeze()))
}

/// Reads the rest of a body and drops it.
async fn discard(body: &mut Body) {
    let mut left = DISCARDED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        left = left.saturating_sub(bytes);
        if left == 0 {
            return;
        }
    }
}

/// The object in a body, in RabbitMQ's words if there is none.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let value = match bytes.trim_ascii() {
        b"" | b"null" | b"undefined" => Value::Object(serde_json::Map::new()),
        bytes => serde_json::from_slice(bytes).map_err(|_| bad_request("not_json"))?,
    };
    match value {
        Value::Object(_) => {
            serde_json::from_value(value).map_err(|error| ApiError::BadRequest(error.to_string()))
        }
        Value::String(_) => Err(bad_request(
            "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?",
        )),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(bad_request("not_json"))
        }
    }
}

/// A field that the request must have.
pub(super) fn required<T>(field: Option<T>, name: &str) -> Result<T, ApiError> {
    field.ok_or_else(|| ApiError::BadRequest(format!("[{{key_missing,{name}}}]")))
}

/// Fields that the request must have. The refusal names all that are missing.
pub(super) fn require_all<T, const N: usize>(
    fields: [(&'static str, Option<T>); N],
) -> Result<[T; N], ApiError> {
    let absent = fields.iter().filter(|(_, field)| field.is_none());
    let missing: Vec<_> = absent
        .map(|(name, _)| format!("{{key_missing,{name}}}"))
        .collect();
    let present: Vec<T> = fields.into_iter().filter_map(|(_, field)| field).collect();
    <[T; N]>::try_from(present)
        .map_err(|_| ApiError::BadRequest(format!("[{}]", missing.join(","))))
}

fn bad_request(reason: &str) -> ApiError {
    ApiError::BadRequest(reason.to_owned())
}

/// A boolean, or a string that names one. Read late, so that a wrong one is refused in RabbitMQ's words.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(value_type = bool)]
pub(super) struct Flag(Value);

impl Flag {
    pub(super) fn read(self) -> Result<bool, ApiError> {
        match (&self.0, self.0.as_str()) {
            (Value::Bool(flag), _) => Ok(*flag),
            (_, Some("true")) => Ok(true),
            (_, Some("false")) => Ok(false),
            _ => Err(ApiError::BadValue("not_boolean", self.0)),
        }
    }

    /// The flag, or this value where the request has none.
    pub(super) fn or(flag: Option<Flag>, absent: bool) -> Result<bool, ApiError> {
        flag.map_or(Ok(absent), Flag::read)
    }
}

/// An integer, or a string that holds one. Read late, so that a wrong one is refused in RabbitMQ's words.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(value_type = i64)]
pub(super) struct Integer(Value);

impl Integer {
    pub(super) fn read(self) -> Result<i64, ApiError> {
        let number = match &self.0 {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        number.ok_or(ApiError::BadValue("not_integer", self.0))
    }
}

/// The `arguments` of a declaration or binding. RabbitMQ also takes an empty array.
pub(super) fn table(arguments: Option<&Value>) -> Result<FieldTable, ApiError> {
    match arguments {
        None | Some(Value::Null) => Ok(FieldTable::default()),
        Some(Value::Array(items)) if items.is_empty() => Ok(FieldTable::default()),
        Some(Value::Object(object)) => {
            table_from_json(object).map_err(|error| ApiError::BadRequest(error.to_string()))
        }
        Some(_) => Err(bad_request("arguments are no object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body {
        durable: Option<Flag>,
        count: Option<Integer>,
    }

    fn read(text: &str) -> Result<(bool, Option<i64>), ApiError> {
        let body: Body = decode(text.as_bytes())?;
        let count = body.count.map(Integer::read).transpose()?;
        Ok((Flag::or(body.durable, false)?, count))
    }

    #[test]
    fn bodies_are_read_as_loosely_as_rabbitmq_reads_them() {
        let not_json = || Err(bad_request("not_json"));
        let bad = |fault, value: Value| Err(ApiError::BadValue(fault, value));
        for (text, expected) in [
            ("", Ok((false, None))),
            (" null\n", Ok((false, None))),
            ("{}", Ok((false, None))),
            (r#"{"durable": true, "other": [1]}"#, Ok((true, None))),
            (r#"{"durable": "true", "count": "7"}"#, Ok((true, Some(7)))),
            (r#"{"count": -7}"#, Ok((false, Some(-7)))),
            ("[]", not_json()),
            ("1", not_json()),
            ("{", not_json()),
            ("\u{fffd}", not_json()),
            (r#"{"durable": 1}"#, bad("not_boolean", 1.into())),
            (r#"{"durable": "yes"}"#, bad("not_boolean", "yes".into())),
            (r#"{"count": 1.5}"#, bad("not_integer", 1.5.into())),
            (r#"{"count": "x"}"#, bad("not_integer", "x".into())),
            (
                r#"{"count": 18446744073709551615}"#,
                bad("not_integer", u64::MAX.into()),
            ),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert!(matches!(read(r#""{}""#), Err(ApiError::BadRequest(_))));
    }
}
