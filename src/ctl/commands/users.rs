//! Users: add, delete, passwords, tags.

use crate::broker::password::{HashingAlgorithm, PasswordHash};
use crate::broker::users::UserError;
use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_NOUSER, EX_SOFTWARE, EX_UNAVAILABLE};
use crate::ctl::outcome::{Failure, Outcome, Reply, rows};
use crate::ctl::protocol::{Cell, Request};
use crate::model::Name;

/// With rabbitmqctl's texts and exit codes.
impl From<UserError> for Failure {
    fn from(error: UserError) -> Failure {
        match error {
            UserError::AlreadyExists(name) => {
                Failure::error(EX_SOFTWARE, format!("User \"{name}\" already exists"))
            }
            UserError::NoSuchUser(name) => {
                Failure::error(EX_NOUSER, format!("User \"{name}\" does not exist"))
            }
            UserError::InvalidPattern(invalid) => Failure::error(
                EX_UNAVAILABLE,
                format!("invalid regexp \"{}\": {}", invalid.pattern, invalid.reason),
            ),
            UserError::SecretExists(id) => {
                Failure::error(EX_SOFTWARE, format!("Secret id \"{id}\" already exists"))
            }
            UserError::NoSuchSecret(id) => {
                Failure::error(EX_DATAERR, format!("Secret id \"{id}\" does not exist"))
            }
            error @ UserError::SecretLength => Failure::error(EX_DATAERR, error),
            UserError::Store(error) => error.into(),
        }
    }
}

pub(super) async fn add(ctx: &Context, request: &Request) -> Outcome {
    let (name, secret) = (request.arg(0), request.arg(1));
    if request.has("pre-hashed-password") {
        let hash = PasswordHash::import(secret, HashingAlgorithm::RabbitSha256)
            .map_err(|error| Failure::error(EX_DATAERR, error))?;
        ctx.users().add_hashed(name, Some(hash), Vec::new()).await?;
    } else {
        ctx.users().add(name, secret.as_bytes(), Vec::new()).await?;
    }
    Ok(Reply::Done)
}

pub(super) async fn authenticate(ctx: &Context, request: &Request) -> Outcome {
    let name = request.arg(0);
    match ctx
        .users()
        .authenticate(name, request.arg(1).as_bytes())
        .await
    {
        Ok(_) => Ok(Reply::Message("Success".to_owned())),
        Err(error) => Err(Failure::error(
            EX_DATAERR,
            format!("Error: failed to authenticate user \"{name}\"\n{error}"),
        )),
    }
}

pub(super) async fn change_password(ctx: &Context, request: &Request) -> Outcome {
    ctx.users()
        .change_password(request.arg(0), request.arg(1).as_bytes())
        .await?;
    Ok(Reply::Done)
}

pub(super) async fn clear_password(ctx: &Context, request: &Request) -> Outcome {
    ctx.users().set_password(request.arg(0), None).await?;
    Ok(Reply::Done)
}

/// To delete a user that does not exist is no error, as in RabbitMQ.
pub(super) async fn delete(ctx: &Context, request: &Request) -> Outcome {
    ctx.users().delete(request.arg(0)).await?;
    Ok(Reply::Done)
}

pub(super) fn hash_password(request: &Request) -> Outcome {
    Ok(Reply::Message(
        PasswordHash::rabbit_sha256(request.arg(0).as_bytes())
            .text()
            .to_owned(),
    ))
}

/// Sets who may log in from this machine only.
pub(super) fn set_loopback(ctx: &Context, request: &Request) -> Outcome {
    let users = request.args.iter().map(|name| name.as_str().into());
    ctx.users().set_loopback_users(users.collect());
    Ok(Reply::Done)
}

pub(super) fn list(ctx: &Context) -> Outcome {
    let users = ctx.users().list();
    rows(
        &["user", "tags"],
        users
            .iter()
            .map(|user| vec![(*user.name).into(), words(&user.tags)])
            .collect(),
    )
}

pub(super) async fn set_tags(ctx: &Context, request: &Request) -> Outcome {
    let tags = request
        .args
        .iter()
        .skip(1)
        .map(|tag| tag.as_str().into())
        .collect();
    ctx.users().set_tags(request.arg(0), tags).await?;
    Ok(Reply::Done)
}

/// Names such as user tags.
pub(super) fn words(names: &[Name]) -> Cell {
    Cell::Words(names.iter().map(|name| name.to_string()).collect())
}
