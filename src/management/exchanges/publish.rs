//! Publishes a message.

use axum::extract::State;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::broker::session::{PublishError, PublishOne};
use crate::management::api::Shared;
use crate::management::caller::Caller;
use crate::management::error::{ApiError, Refusal};
use crate::management::json::{Answer, Json, required};
use crate::management::path::{Path, exchange_name};
use crate::management::properties_json::properties_from_json;
use crate::wire::encode_properties;

/// A message to publish.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PublishRequest {
    #[schema(value_type = Object)]
    properties: Option<Map<String, Value>>,
    routing_key: Option<String>,
    #[schema(value_type = String)]
    payload: Option<Value>,
    /// `string` or `base64`.
    payload_encoding: Option<String>,
}

/// Whether a queue got the message.
#[derive(Serialize, ToSchema)]
pub(super) struct PublishReply {
    routed: bool,
}

/// Publishes a message. The answer comes when the message is on disk in every queue that it was routed to.
#[utoipa::path(
    post, path = "/api/exchanges/{vhost}/{name}/publish", tag = "exchanges",
    params(("vhost" = String, Path), ("name" = String, Path)), request_body = PublishRequest,
    responses(
        (status = 200, body = PublishReply), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal), (status = 503, description = "An alarm stops publishers.", body = Refusal)
    )
)]
pub(super) async fn publish(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    Json(body): Json<PublishRequest>,
) -> Answer<PublishReply> {
    let vhost = caller.vhost_to_change(&api, &vhost)?;
    let exchange = exchange_name(&name);
    let not_found = || ApiError::NotFoundBecause("exchange_not_found".to_owned());
    vhost.exchange(exchange).ok_or_else(not_found)?;
    let routing_key = required(body.routing_key, "routing_key")?;
    let properties = required(body.properties, "properties")?;
    let payload = required(body.payload, "payload")?;
    let encoding = required(body.payload_encoding, "payload_encoding")?;
    let payload = match payload {
        Value::String(payload) => decode(payload, &encoding)?,
        _ => return Err(ApiError::BadRequest("payload_not_string".to_owned())),
    };
    if routing_key.len() > usize::from(u8::MAX) {
        let reason = "the routing key is longer than 255 bytes";
        return Err(ApiError::BadRequest(reason.to_owned()));
    }
    if api.views.node().alarms.any() {
        let reason = "an alarm of memory or disk stops publishers";
        return Err(ApiError::Unavailable(reason.to_owned()));
    }
    let session = caller.session(&api, vhost);
    let published = session.publish(PublishOne {
        exchange,
        routing_key: &routing_key,
        properties: encode_properties(&properties_from_json(&properties)?),
        body: payload,
    });
    let routed = published.await.map_err(refusal)?;
    Ok(Json(PublishReply { routed }))
}

fn decode(payload: String, encoding: &str) -> Result<Bytes, ApiError> {
    match encoding {
        "string" => Ok(Bytes::from(payload)),
        "base64" => match BASE64_STANDARD.decode(&payload) {
            Ok(bytes) => Ok(Bytes::from(bytes)),
            Err(_) => Err(ApiError::BadValue("not_base64", payload.into())),
        },
        other => Err(ApiError::BadValue("unsupported_encoding", other.into())),
    }
}

fn refusal(error: PublishError) -> ApiError {
    match error {
        PublishError::Broker(error) => ApiError::of_method(error),
        PublishError::Property(invalid) => {
            ApiError::BadRequest(format!("406 PRECONDITION_FAILED - {invalid}"))
        }
        PublishError::Malformed => ApiError::BadRequest("malformed properties".to_owned()),
        PublishError::Rejected => ApiError::BadRequest(
            "rejected Unable to publish message. Check queue limits.".to_owned(),
        ),
    }
}
