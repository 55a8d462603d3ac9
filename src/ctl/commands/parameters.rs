//! Runtime parameters and the name of the cluster: set, clear, list.

use serde_json::Value;

use super::lookup::vhost_exists;
use crate::broker::parameters::{CLUSTER_NAME, ParameterError, runtime};
use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE};
use crate::ctl::outcome::{Failure, Outcome, Reply, rows};
use crate::ctl::protocol::Request;

impl From<ParameterError> for Failure {
    fn from(error: ParameterError) -> Failure {
        match error {
            ParameterError::NoSuchVhost(_) => Failure::plain(EX_DATAERR, error.to_string()),
            ParameterError::Store(error) => error.into(),
            ParameterError::NotFound
            | ParameterError::Protected { .. }
            | ParameterError::Policy(_)
            | ParameterError::Invalid(_)
            | ParameterError::OperatorPolicy(_)
            | ParameterError::NoSuchComponent(_)
            | ParameterError::NameTooLong
            | ParameterError::ValueTooLong => Failure::error(EX_UNAVAILABLE, error),
        }
    }
}

pub(super) async fn set(ctx: &Context, request: &Request) -> Outcome {
    let value = json(request.arg(2))?;
    let (component, name) = (request.arg(0), request.arg(1));
    runtime::set(&ctx.broker, request.vhost(), component, name, &value).await?;
    Ok(Reply::Done)
}

pub(super) async fn clear(ctx: &Context, request: &Request) -> Outcome {
    let (component, name) = (request.arg(0), request.arg(1));
    runtime::clear(&ctx.broker, request.vhost(), component, name).await?;
    Ok(Reply::Done)
}

pub(super) fn list(ctx: &Context, request: &Request) -> Outcome {
    vhost_exists(ctx, request.vhost())?;
    let all = runtime::list(&ctx.broker).into_iter();
    let own = all.filter(|parameter| *parameter.vhost == *request.vhost());
    let shown = own.map(|parameter| {
        let value = parameter.value.to_string();
        vec![
            parameter.component.into(),
            (*parameter.name).into(),
            value.into(),
        ]
    });
    rows(&["component", "name", "value"], shown.collect())
}

pub(super) async fn set_global(ctx: &Context, request: &Request) -> Outcome {
    let value = json(request.arg(1))?;
    let parameters = ctx.broker.global_parameters();
    parameters.set(request.arg(0), value).await?;
    Ok(Reply::Done)
}

pub(super) async fn clear_global(ctx: &Context, request: &Request) -> Outcome {
    let parameters = ctx.broker.global_parameters();
    parameters.clear(request.arg(0)).await?;
    Ok(Reply::Done)
}

pub(super) fn list_global(ctx: &Context) -> Outcome {
    let all = ctx.broker.global_parameters().list().into_iter();
    let shown = all.map(|(name, value)| vec![(*name).into(), value.to_string().into()]);
    rows(&["name", "value"], shown.collect())
}

pub(super) async fn set_cluster_name(ctx: &Context, request: &Request) -> Outcome {
    let parameters = ctx.broker.global_parameters();
    parameters.set(CLUSTER_NAME, request.arg(0).into()).await?;
    Ok(Reply::Done)
}

fn json(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|_| not_json(text))
}

/// The refusal of an argument that is no JSON.
pub(super) fn not_json(text: &str) -> Failure {
    let text = format!(
        "Could not parse JSON document: {{error,{{failed_to_decode_json,<<\"{text}\">>}}}}"
    );
    Failure::error(EX_UNAVAILABLE, text)
}
