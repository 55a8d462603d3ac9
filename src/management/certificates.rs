//! The health check of certificates: whether those of TLS listeners expire soon.

use std::path::Path as FilePath;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Shared;
use super::caller::Caller;
use super::error::{ApiError, Refusal};
use super::json::Json;
use super::path::Path;
use crate::net::{TlsSettings, Validity};
use crate::node;
use crate::views::{ListenerView, Security};

const DAY_SECS: i64 = 24 * 60 * 60;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(certificate_expiration))
}

#[derive(Debug, Serialize, ToSchema)]
struct CertificateHealth {
    /// `ok` or `failed`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Listeners whose certificates expire too soon.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expired: Vec<ExpiringListener>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ExpiringListener {
    node: String,
    protocol: &'static str,
    interface: String,
    port: u16,
    certfile: String,
    cacertfile: Option<String>,
    certfile_expires_on: Vec<String>,
    cacertfile_expires_on: Vec<String>,
}

/// No certificate of a TLS listener expires within a time.
#[utoipa::path(
    get, path = "/api/health/checks/certificate-expiration/{within}/{unit}", tag = "health",
    params(("within" = i64, Path), ("unit" = String, Path, description = "days, weeks, months or years")),
    responses(
        (status = 200, body = CertificateHealth), (status = 400, body = Refusal), (status = 401, body = Refusal),
        (status = 503, body = CertificateHealth)
    )
)]
async fn certificate_expiration(
    State(api): State<Shared>,
    _: Caller,
    Path((within, unit)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let within = seconds(&within, &unit).map_err(|text| ApiError::BadRequest(text.to_owned()))?;
    let now = i64::try_from(api.broker.clock().wall_ms() / 1000).unwrap_or(i64::MAX);
    let until = now.saturating_add(within);
    let Some(tls) = api.config.tls.clone() else {
        return Ok(respond(Vec::new()));
    };
    let listeners = api.views.node().listeners;
    let look = move || expiring_listeners(&listeners, tls.settings(), until);
    let expired = tokio::task::spawn_blocking(look).await;
    Ok(respond(expired.unwrap_or_default()))
}

fn respond(expired: Vec<ExpiringListener>) -> Response {
    let (code, status, reason) = match expired.is_empty() {
        true => (StatusCode::OK, "ok", None),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "failed",
            Some("Certificates expiring"),
        ),
    };
    let health = CertificateHealth {
        status,
        reason,
        expired,
    };
    (code, Json(health)).into_response()
}

/// The length of a time, with RabbitMQ's months and years.
fn seconds(within: &str, unit: &str) -> Result<i64, &'static str> {
    let within: i64 = within.parse().map_err(|_| "Invalid expiration value.")?;
    let unit_secs = match unit.to_lowercase().as_str() {
        "days" => DAY_SECS,
        "weeks" => 7 * DAY_SECS,
        "months" => 365 * DAY_SECS / 12,
        "years" => 365 * DAY_SECS,
        _ => {
            return Err("Time unit not recognised. Supported units: days, weeks, months, years.");
        }
    };
    Ok(within.saturating_mul(unit_secs))
}

/// All TLS listeners, if one of the certificates expires before `until`.
fn expiring_listeners(
    listeners: &[ListenerView],
    tls: &TlsSettings,
    until: i64,
) -> Vec<ExpiringListener> {
    let own = expiring(&tls.certificate, until);
    let authorities = tls.authorities.as_deref();
    let authorities_expiring = authorities.map_or_else(Vec::new, |path| expiring(path, until));
    if own.is_empty() && authorities_expiring.is_empty() {
        return Vec::new();
    }
    let listeners = listeners
        .iter()
        .filter(|listener| listener.security == Security::Tls);
    listeners
        .map(|listener| ExpiringListener {
            node: node::name(),
            protocol: listener.protocol_name(),
            interface: listener.address.ip().to_string(),
            port: listener.address.port(),
            certfile: tls.certificate.display().to_string(),
            cacertfile: authorities.map(|path| path.display().to_string()),
            certfile_expires_on: own.clone(),
            cacertfile_expires_on: authorities_expiring.clone(),
        })
        .collect()
}

/// When the certificates of a file expire, of those that do before `until`; or why they cannot be read.
fn expiring(path: &FilePath, until: i64) -> Vec<String> {
    let validities = match Validity::of_file(path) {
        Ok(validities) => validities,
        Err(error) => return vec![error.to_string()],
    };
    let expiring = validities
        .iter()
        .filter(|validity| validity.not_after < until);
    expiring.map(|validity| date(validity.not_after)).collect()
}

fn date(unix_secs: i64) -> String {
    match Timestamp::from_second(unix_secs) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => "in the far future".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_rabbitmqs_units() {
        for (within, unit, expected) in [
            ("1", "days", Ok(86_400)),
            ("2", "WEEKS", Ok(1_209_600)),
            ("1", "months", Ok(2_628_000)),
            ("1", "years", Ok(31_536_000)),
            ("-1", "days", Ok(-86_400)),
            ("two", "weeks", Err("Invalid expiration value.")),
        ] {
            assert_eq!(seconds(within, unit), expected, "{within} {unit}");
        }
        assert!(seconds("2", "week").is_err());
        assert!(seconds("9223372036854775807", "years").is_ok());
    }
}
