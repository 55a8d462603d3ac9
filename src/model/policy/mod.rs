//! Policies: settings for all queues and exchanges whose names match. Pure data and decisions; `broker/policies`
//! stores and applies them.

mod apply_to; // the types that a policy is for
mod definition; // the keys and values of one policy, checked
mod keys; // every key, its values and how it combines
mod rule; // which of two values holds
mod selection; // which policy applies
#[cfg(test)]
mod tests;
mod validated; // a policy, and the refusal of one

pub use apply_to::{ApplyTo, Target};
pub use definition::PolicyKind;
pub(super) use keys::{KEYS, Key, Use};
pub(super) use rule::Side;
pub use selection::{Applied, PolicySet};
pub use validated::{InvalidPolicy, POLICY_NAME_BYTES_MAX, Policy, PolicyDraft};
