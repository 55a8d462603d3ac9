//! What help, errors and sources of values know of one option.

#[derive(Debug)]
pub struct OptionSpec {
    /// The field of `Config`.
    pub field: &'static str,
    /// The placeholder of the value in help.
    pub value: &'static str,
    pub default: &'static str,
    /// One or two sentences.
    pub help: &'static str,
    /// Whether it takes a list, or may be given more than once.
    pub repeatable: bool,
    pub reload: Reload,
}

/// When a changed value holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// From the reload on.
    Live,
    /// From the next start on.
    Restart,
}

impl OptionSpec {
    /// The flag without `--`, and the key in the file.
    pub fn key(&self) -> String {
        self.field.replace('_', "-")
    }

    /// The environment variable.
    pub fn env(&self) -> String {
        format!("LEVERET_{}", self.field.to_uppercase())
    }

    /// The values of the default: several, with commas between, if it takes a list.
    pub(super) fn defaults(&self) -> Vec<String> {
        match self.repeatable {
            true => self.default.split(',').map(str::to_owned).collect(),
            false => vec![self.default.to_owned()],
        }
    }

    /// Whether `check-config` hides the value.
    pub fn is_secret(&self) -> bool {
        matches!(
            self.field,
            "cluster_secret"
                | "default_pass"
                | "default_users"
                | "ldap_dn_lookup_bind_password"
                | "ldap_other_bind_password"
        )
    }
}
