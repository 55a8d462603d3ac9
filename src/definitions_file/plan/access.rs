//! Checks users with their passwords, and virtual hosts.

use super::{Checked, Invalid, Password, Plan, PlannedUser, PlannedVhost, check_name};
use crate::broker::limits::UserLimits;
use crate::broker::password::{HashingAlgorithm, PasswordHash};
use crate::definitions_file::document::Entries;
use crate::definitions_file::entries::{UserEntry, VhostEntry};
use crate::definitions_file::own::PasswordEntry;
use crate::definitions_file::report::Category;
use crate::model::arguments::QueueKind;

/// Tags of a user at most, as in RabbitMQ.
const TAGS_MAX: usize = 64;

impl Plan {
    pub(super) fn add_vhost(&mut self, entry: VhostEntry) -> Checked<()> {
        self.vhosts.push(vhost(entry)?);
        Ok(())
    }

    pub(super) fn add_access(
        &mut self,
        users: Entries<UserEntry>,
        own_hashes: Vec<PasswordEntry>,
        version: Option<String>,
    ) -> Checked<()> {
        for entry in users {
            let own = own_hashes.iter().find(|own| own.name == entry.name);
            let user = self.user(entry, own, version.as_deref())?;
            self.users.push(user);
        }
        Ok(())
    }

    fn user(
        &mut self,
        entry: UserEntry,
        own: Option<&PasswordEntry>,
        version: Option<&str>,
    ) -> Checked<PlannedUser> {
        let name = entry.name;
        check_name("user", &name)?;
        let tags = entry.tags.names();
        if tags.len() > TAGS_MAX {
            return Err(Invalid(format!("{{too_many_tags,{TAGS_MAX}}}")));
        }
        let none = serde_json::Map::new();
        let limits = entry.limits.as_ref();
        let limits = limits.map(|limits| UserLimits::from_json(limits.object().unwrap_or(&none)));
        let limits = limits.transpose();
        let limits = limits.map_err(|invalid| Invalid::of("user", &name, invalid))?;
        let (hash, algorithm) = match own {
            Some(own) => (
                Some(&own.password_hash),
                Some(own.hashing_algorithm.as_str()),
            ),
            None => (
                entry.password_hash.as_ref(),
                entry.hashing_algorithm.as_deref(),
            ),
        };
        let password = match (entry.password, hash) {
            (Some(_), Some(_)) => {
                let text = "both_password_and_password_hash_are_provided";
                return Err(Invalid(text.to_owned()));
            }
            (Some(plain), None) if !plain.is_empty() => Password::Plain(plain),
            (None, Some(hash)) if !hash.is_empty() => {
                match HashingAlgorithm::of_definition(algorithm, version) {
                    Some(algorithm) => {
                        let hash = PasswordHash::import(hash, algorithm);
                        Password::Hash(hash.map_err(|error| Invalid::of("user", &name, error))?)
                    }
                    None => {
                        let reason = format!(
                            "its password, which is hashed by {}, is unknown here; set a new one",
                            algorithm.unwrap_or_default()
                        );
                        self.report.skip(Category::Users, None, &*name, reason);
                        Password::None
                    }
                }
            }
            (Some(_), None) | (None, _) => Password::None,
        };
        Ok(PlannedUser {
            name,
            password,
            tags,
            limits,
        })
    }
}

fn vhost(entry: VhostEntry) -> Checked<PlannedVhost> {
    check_name("vhost", &entry.name)?;
    let metadata = entry.metadata;
    let tags = entry.tags.map(|tags| tags.names()).or(metadata.tags);
    // RabbitMQ 4.0 reads the metadata alone; earlier exports have the type beside it.
    let named = metadata.default_queue_type.or(entry.default_queue_type);
    let named = named.as_ref().and_then(serde_json::Value::as_str);
    let default_queue_kind = match named {
        None | Some("" | "undefined") => None,
        Some(named) => {
            let mut kinds = QueueKind::ALL.into_iter();
            let known = kinds.find(|kind| kind.as_str() == named);
            Some(known.ok_or_else(|| Invalid(format!("{named} is not a valid queue type")))?)
        }
    };
    Ok(PlannedVhost {
        name: entry.name,
        description: entry
            .description
            .or(metadata.description)
            .unwrap_or_default(),
        tags: tags.unwrap_or_default(),
        default_queue_kind,
        protected_from_deletion: metadata.protected_from_deletion,
        tracing: entry.tracing,
    })
}
