//! Declares and deletes exchanges.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::broker::session::DeclareExchange;
use crate::management::api::Shared;
use crate::management::caller::Caller;
use crate::management::error::{ApiError, Refusal};
use crate::management::json::{Flag, Json, table};
use crate::management::path::{Path, Query, exchange_name};

/// How to declare an exchange.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ExchangeDeclaration {
    /// `direct` unless given.
    r#type: Option<String>,
    /// False unless given.
    durable: Option<Flag>,
    /// Whether it is deleted with its last binding; false unless given.
    auto_delete: Option<Flag>,
    /// Whether clients may not publish to it; false unless given.
    internal: Option<Flag>,
    #[schema(value_type = Option<Object>)]
    arguments: Option<Value>,
}

/// Declares an exchange, or checks that an equal one exists.
#[utoipa::path(
    put, path = "/api/exchanges/{vhost}/{name}", tag = "exchanges",
    params(("vhost" = String, Path), ("name" = String, Path)), request_body = ExchangeDeclaration,
    responses(
        (status = 201, description = "Declared."), (status = 204, description = "An equal exchange exists."),
        (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 404, body = Refusal)
    )
)]
pub(super) async fn declare(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    Json(body): Json<ExchangeDeclaration>,
) -> Result<StatusCode, ApiError> {
    let vhost = caller.vhost_to_change(&api, &vhost)?;
    let name = exchange_name(&name);
    let exists = vhost.exchange(name).is_some();
    let session = caller.session(&api, vhost);
    let declare = DeclareExchange {
        name,
        kind: body.r#type.as_deref().unwrap_or("direct"),
        passive: false,
        durable: Flag::or(body.durable, false)?,
        auto_delete: Flag::or(body.auto_delete, false)?,
        internal: Flag::or(body.internal, false)?,
        arguments: table(body.arguments.as_ref())?,
    };
    session.declare_exchange(declare).await?;
    Ok(match exists {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::CREATED,
    })
}

/// The condition of a deletion.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteQuery {
    /// `true` refuses to delete it while something is bound to it.
    #[serde(rename = "if-unused")]
    if_unused: Option<String>,
}

/// Deletes an exchange with its bindings.
#[utoipa::path(
    delete, path = "/api/exchanges/{vhost}/{name}", tag = "exchanges",
    params(("vhost" = String, Path), ("name" = String, Path), DeleteQuery),
    responses(
        (status = 204, description = "Deleted."), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
pub(super) async fn delete(
    State(api): State<Shared>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    Query(query): Query<DeleteQuery>,
) -> Result<StatusCode, ApiError> {
    let vhost = caller.vhost(&api, &vhost)?;
    let name = exchange_name(&name);
    vhost.exchange(name).ok_or(ApiError::NotFound)?;
    let if_unused = query.if_unused.as_deref() == Some("true");
    let session = caller.session(&api, vhost);
    session.delete_exchange(name, if_unused).await?;
    Ok(StatusCode::NO_CONTENT)
}
