//! Metadata of a virtual host, and its record.

use crate::broker::definitions::topology::VhostRecord;
use crate::model::Name;
use crate::model::arguments::QueueKind;

/// An operator's description and settings of a virtual host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostMetadata {
    pub description: String,
    pub tags: Vec<Name>,
    /// Type of queues whose declaration names none. `None` means classic.
    pub default_queue_kind: Option<QueueKind>,
    /// Whether an operator has to lift the protection before the virtual host can be deleted.
    pub protected_from_deletion: bool,
}

impl VhostMetadata {
    pub(in crate::broker) fn record(&self, name: &Name) -> VhostRecord {
        VhostRecord {
            name: name.clone(),
            description: self.description.clone(),
            tags: self.tags.clone(),
            default_queue_type: self.default_queue_kind.map(|kind| kind.as_str().into()),
            protected_from_deletion: self.protected_from_deletion,
        }
    }

    pub(in crate::broker) fn of_record(record: &VhostRecord) -> VhostMetadata {
        let named = record.default_queue_type.as_deref();
        VhostMetadata {
            description: record.description.clone(),
            tags: record.tags.clone(),
            default_queue_kind: QueueKind::ALL
                .into_iter()
                .find(|kind| Some(kind.as_str()) == named),
            protected_from_deletion: record.protected_from_deletion,
        }
    }
}
