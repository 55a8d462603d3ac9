//! Parameters of virtual hosts by component: listing, setting and clearing them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{Api, Shared};
use super::caller::{Caller, Policymaker};
use super::error::{ApiError, Refusal};
use super::json::{Json, required};
use super::listing::{self, ListQuery, Row};
use super::path::Path;
use crate::broker::parameters::ParameterError;
use crate::broker::parameters::runtime::{self, RuntimeParameter};
use crate::model::shovel::ShovelDefinition;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_component))
        .routes(routes!(list_of_vhost))
        .routes(routes!(get, put, delete))
}

/// A parameter of a virtual host.
#[derive(Serialize, ToSchema)]
struct ParameterJson {
    value: Value,
    vhost: String,
    component: &'static str,
    name: String,
}

/// The new value of a parameter.
#[derive(Deserialize, ToSchema)]
struct ParameterBody {
    /// Any JSON that the component takes.
    #[serde(default, deserialize_with = "some")]
    value: Option<Value>,
}

/// A value that is there, be it `null`.
pub(super) fn some<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(json).map(Some)
}

struct ParameterRow(RuntimeParameter);

impl Row for ParameterRow {
    type Json = ParameterJson;

    fn json(&self) -> ParameterJson {
        let RuntimeParameter {
            vhost,
            component,
            name,
            value,
        } = &self.0;
        ParameterJson {
            value: value.clone(),
            vhost: vhost.to_string(),
            component,
            name: name.to_string(),
        }
    }

    fn vhost(&self) -> &str {
        &self.0.vhost
    }

    fn name(&self) -> &str {
        &self.0.name
    }
}

impl From<ParameterError> for ApiError {
    fn from(error: ParameterError) -> ApiError {
        match error {
            ParameterError::NotFound | ParameterError::NoSuchVhost(_) => ApiError::NotFound,
            ParameterError::Store(error) => error.into(),
            ParameterError::Protected { .. } => ApiError::Protected(error.to_string()),
            error @ (ParameterError::Policy(_)
            | ParameterError::NoSuchComponent(_)
            | ParameterError::Invalid(_)
            | ParameterError::OperatorPolicy(_)
            | ParameterError::NameTooLong
            | ParameterError::ValueTooLong) => ApiError::BadRequest(error.to_string()),
        }
    }
}

/// The parameters of the virtual hosts where the caller may act.
fn rows(
    api: &Api,
    caller: &Caller,
    vhost: Option<&str>,
    component: Option<&str>,
) -> Result<Vec<ParameterRow>, ApiError> {
    let vhosts = caller.vhosts(api, vhost)?;
    let mut all = runtime::list(&api.broker);
    all.retain(|parameter| {
        component.is_none_or(|component| component == parameter.component)
            && vhosts.iter().any(|vhost| *vhost.name() == parameter.vhost)
    });
    Ok(all.into_iter().map(ParameterRow).collect())
}

/// All parameters.
#[utoipa::path(
    get, path = "/api/parameters", tag = "parameters", params(ListQuery),
    responses(
        (status = 200, body = Vec<ParameterJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list(
    State(api): State<Shared>,
    Policymaker(caller): Policymaker,
    query: ListQuery,
) -> Result<Response, ApiError> {
    listing::list(&query, rows(&api, &caller, None, None)?).await
}

/// The parameters of a component.
#[utoipa::path(
    get, path = "/api/parameters/{component}", tag = "parameters", params(("component" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<ParameterJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_component(
    State(api): State<Shared>,
    Policymaker(caller): Policymaker,
    Path(component): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    listing::list(&query, rows(&api, &caller, None, Some(&component))?).await
}

/// The parameters of a component in a virtual host.
#[utoipa::path(
    get, path = "/api/parameters/{component}/{vhost}", tag = "parameters",
    params(("component" = String, Path), ("vhost" = String, Path), ListQuery),
    responses(
        (status = 200, body = Vec<ParameterJson>), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 404, body = Refusal)
    )
)]
async fn list_of_vhost(
    State(api): State<Shared>,
    Policymaker(caller): Policymaker,
    Path((component, vhost)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    listing::list(&query, rows(&api, &caller, Some(&vhost), Some(&component))?).await
}

fn find(
    api: &Api,
    caller: &Caller,
    [component, vhost, name]: [&str; 3],
) -> Result<ParameterRow, ApiError> {
    let rows = rows(api, caller, Some(vhost), Some(component))?;
    let mut own = rows.into_iter().filter(|row| row.name() == name);
    own.next().ok_or(ApiError::NotFound)
}

/// One parameter.
#[utoipa::path(
    get, path = "/api/parameters/{component}/{vhost}/{name}", tag = "parameters",
    params(
        ("component" = String, Path), ("vhost" = String, Path), ("name" = String, Path),
        ("columns" = Option<String>, Query)
    ),
    responses((status = 200, body = ParameterJson), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn get(
    State(api): State<Shared>,
    Policymaker(caller): Policymaker,
    Path((component, vhost, name)): Path<(String, String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let found = find(&api, &caller, [&component, &vhost, &name])?;
    listing::object(&query, &found.json())
}

/// Sets a parameter. Limits and operator policies bound what others may do, so only administrators set them.
#[utoipa::path(
    put, path = "/api/parameters/{component}/{vhost}/{name}", tag = "parameters",
    params(("component" = String, Path), ("vhost" = String, Path), ("name" = String, Path)),
    request_body = ParameterBody,
    responses(
        (status = 201, description = "Set for the first time."), (status = 204, description = "Replaced."),
        (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 404, body = Refusal)
    )
)]
async fn put(
    State(api): State<Shared>,
    Policymaker(caller): Policymaker,
    Path((component, vhost, name)): Path<(String, String, String)>,
    Json(body): Json<ParameterBody>,
) -> Result<StatusCode, ApiError> {
    caller.vhost(&api, &vhost)?;
    let value = required(body.value, "value")?;
    check_changes(&caller, &component)?;
    check_local_ends(&api, &caller, &component, &name, &value)?;
    let is_new = find(&api, &caller, [&component, &vhost, &name]).is_err();
    runtime::set(&api.broker, &vhost, &component, &name, &value).await?;
    Ok(match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::NO_CONTENT,
    })
}

/// Clears a parameter.
#[utoipa::path(
    delete, path = "/api/parameters/{component}/{vhost}/{name}", tag = "parameters",
    params(("component" = String, Path), ("vhost" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn delete(
    State(api): State<Shared>,
    Policymaker(caller): Policymaker,
    Path((component, vhost, name)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    find(&api, &caller, [&component, &vhost, &name])?;
    check_changes(&caller, &component)?;
    runtime::clear(&api.broker, &vhost, &component, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A shovel with a URI that has no host acts with all rights, so its author must have access to the virtual host.
fn check_local_ends(
    api: &Api,
    caller: &Caller,
    component: &str,
    name: &str,
    value: &Value,
) -> Result<(), ApiError> {
    if component != runtime::SHOVEL {
        return Ok(());
    }
    // An invalid definition is refused later.
    let Ok(definition) = ShovelDefinition::parse(name, value) else {
        return Ok(());
    };
    for vhost in definition.local_vhosts() {
        let user = &caller.user.name;
        if caller.vhost(api, vhost).is_err() {
            let text = format!("user \"{user}\" may not connect to vhost \"{vhost}\"");
            return Err(ParameterError::Invalid(text).into());
        }
    }
    Ok(())
}

fn check_changes(caller: &Caller, component: &str) -> Result<(), ApiError> {
    let bounds = [runtime::OPERATOR_POLICY, runtime::VHOST_LIMITS];
    match bounds.contains(&component) && !caller.is_administrator() {
        true => Err(ApiError::NotAuthorised("Not administrator user".to_owned())),
        false => Ok(()),
    }
}
