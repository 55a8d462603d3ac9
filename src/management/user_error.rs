//! Refusals of changes of users, permissions and limits, for clients of the API.

use super::error::ApiError;
use crate::broker::limits::InvalidLimits;
use crate::broker::users::UserError;

impl From<UserError> for ApiError {
    fn from(error: UserError) -> ApiError {
        match error {
            UserError::NoSuchUser(_) | UserError::NoSuchSecret(_) => ApiError::NotFound,
            UserError::InvalidPattern(invalid) => ApiError::BadRequest(format!(
                "invalid_regexp: '{}': {}",
                invalid.pattern, invalid.reason
            )),
            UserError::AlreadyExists(_) | UserError::SecretExists(_) | UserError::SecretLength => {
                ApiError::BadRequest(error.to_string())
            }
            UserError::Store(failed) => failed.into(),
        }
    }
}

impl From<InvalidLimits> for ApiError {
    fn from(invalid: InvalidLimits) -> ApiError {
        ApiError::BadRequest(invalid.to_string())
    }
}
