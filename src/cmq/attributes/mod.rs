//! The attributes of queues in the words of the API. What they do to a queue, the queue knows by its own arguments and
//! overrides.

mod attribute_set; // of one queue
mod dead_letter_policy;
mod table; // of all queues

pub(crate) use attribute_set::Attributes;
pub(crate) use dead_letter_policy::DeadLetterPolicy;
pub(crate) use table::AllAttributes;
