//! From settings to values of our options, and warnings. Pure but for the look whether files are there.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::error::RabbitmqConfError;
use super::files::Setting;
use super::keys;
use super::kind::{Kind, Value};
use super::row::{AliasPart, Door, Meaning, Part, Row, Step};
use super::syntax::Key;

/// The values of one option.
#[derive(Debug, PartialEq, Eq)]
pub struct Given {
    /// The option as a flag, without `--`.
    pub option: &'static str,
    pub values: Vec<String>,
    /// Key, file and line.
    pub origin: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Translation {
    pub given: Vec<Given>,
    /// One for each key that has no effect.
    pub warnings: Vec<String>,
}

impl Door {
    const ALL: [Door; 4] = [
        Door::Management,
        Door::ManagementTls,
        Door::Prometheus,
        Door::PrometheusTls,
    ];

    fn option(self) -> &'static str {
        match self {
            Door::Management => "management-listen",
            Door::ManagementTls => "management-tls-listen",
            Door::Prometheus => "prometheus-listen",
            Door::PrometheusTls => "prometheus-tls-listen",
        }
    }

    fn port(self) -> u16 {
        match self {
            Door::Management => 15672,
            Door::ManagementTls => 15671,
            Door::Prometheus => 15692,
            Door::PrometheusTls => 15691,
        }
    }

    /// The listener that RabbitMQ opens only when it is configured, or when neither is.
    fn plain(self) -> Option<Door> {
        match self {
            Door::ManagementTls => Some(Door::Management),
            Door::PrometheusTls => Some(Door::Prometheus),
            Door::Management | Door::Prometheus => None,
        }
    }
}

/// Translates settings with distinct keys.
pub(super) fn translate(settings: &[Setting]) -> Result<Translation, RabbitmqConfError> {
    let mut gathered = Gathered::default();
    for setting in settings {
        let (rank, row) = keys::find(&setting.key).ok_or_else(|| unknown(setting))?;
        let reject = |reason| match row.kind {
            Kind::Secret => invalid(setting, "(not shown)", reason),
            _ => invalid(setting, &setting.value, reason),
        };
        match row.kind.read(&setting.value).map_err(reject)? {
            Value::Is(value) => gathered.take(setting, rank, row, value)?,
            Value::Nothing => {}
            Value::Stays(reason) => gathered.warn(setting, reason),
        }
    }
    Ok(gathered.finish())
}

/// What the settings say, by option.
#[derive(Default)]
struct Gathered {
    /// With the rank of the row: the first row of the table that sets an option wins.
    single: BTreeMap<&'static str, (usize, String, String)>,
    lists: BTreeMap<&'static str, List>,
    objects: BTreeMap<&'static str, Object>,
    /// Role and scopes, by number.
    aliases: BTreeMap<String, [Option<String>; 2]>,
    /// The key that forbids anonymous logins.
    without_anonymous: Option<String>,
    doors: Vec<(Door, Part, String, String)>,
    backends: BTreeMap<u64, Backend>,
    cached: Backend,
    backends_origin: String,
    warnings: Vec<String>,
}

#[derive(Default)]
struct List {
    /// With what they are ordered by.
    items: Vec<(Order, String)>,
    origin: String,
}

/// The objects of an option, and their fields.
#[derive(Default)]
struct Object {
    fields: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
    origin: String,
}

/// Numbers come before names, in the order of numbers.
type Order = (u64, String);

#[derive(Default)]
struct Backend {
    authn: Option<String>,
    authz: Option<String>,
}

impl Gathered {
    fn warn(&mut self, setting: &Setting, reason: &str) {
        self.warnings.push(format!(
            "{} ({}) has no effect: {reason}",
            setting.key,
            place(setting)
        ));
    }

    fn take(
        &mut self,
        setting: &Setting,
        rank: usize,
        row: &Row,
        value: String,
    ) -> Result<(), RabbitmqConfError> {
        match row.meaning {
            Meaning::Sets(option) => {
                let is_first = self
                    .single
                    .get(option)
                    .is_none_or(|(other, ..)| rank < *other);
                if is_first {
                    self.single.insert(option, (rank, value, origin(setting)));
                }
            }
            Meaning::Adds(option) => {
                let list = self.lists.entry(option).or_default();
                list.items.push((order(&setting.key), value));
                list.origin = origin(setting);
            }
            Meaning::Pairs(option) => {
                let list = self.lists.entry(option).or_default();
                let name = setting.key.0.last().cloned().unwrap_or_default();
                list.items
                    .push((order(&setting.key), format!("{name}={value}")));
                list.origin = origin(setting);
            }
            Meaning::Spreads(option) => {
                if value.contains("/0") {
                    self.warnings.push(format!(
                        "{} ({}) trusts every address, at all listeners: name the proxies in {option}",
                        setting.key,
                        place(setting)
                    ));
                }
                let list = self.lists.entry(option).or_default();
                let items = value
                    .split(',')
                    .map(|item| (order(&setting.key), item.to_owned()));
                list.items.extend(items);
                list.origin = origin(setting);
            }
            Meaning::Marks(option) => {
                let list = self.lists.entry(option).or_default();
                list.origin = origin(setting);
                if value == "true" {
                    let name = setting.key.0.last().cloned().unwrap_or_default();
                    list.items.push((order(&setting.key), name));
                }
            }
            Meaning::AnonymousUser => {
                if value == NONE {
                    self.without_anonymous = Some(origin(setting));
                }
            }
            Meaning::Field(option) => {
                let mut words = setting.key.0.iter().rev().cloned();
                let (field, name) = (words.next(), words.next());
                let object = self.objects.entry(option).or_default();
                let fields = object.fields.entry(name.unwrap_or_default()).or_default();
                fields.insert(field.unwrap_or_default(), row.kind.json(value));
                object.origin = origin(setting);
            }
            Meaning::Alias(part) => {
                let number = setting.key.0.iter().rev().nth(1).cloned();
                let [role, scopes] = self.aliases.entry(number.unwrap_or_default()).or_default();
                match part {
                    AliasPart::Role => *role = Some(value),
                    AliasPart::Scopes => *scopes = Some(value),
                }
                self.lists.entry(SCOPE_ALIASES).or_default().origin = origin(setting);
            }
            Meaning::Web(door, part) => self.doors.push((door, part, value, origin(setting))),
            Meaning::Backend(step) => self.backend(setting, step, value)?,
            Meaning::Always(values, reason) => {
                if !values.contains(&setting.value.as_str()) {
                    self.warn(setting, reason);
                }
            }
            Meaning::Without(reason) => self.warn(setting, reason),
            Meaning::Refused(harmless, _) if harmless.contains(&setting.value.as_str()) => {}
            Meaning::Refused(_, reason) => {
                return Err(RabbitmqConfError::Refused {
                    key: setting.key.to_string(),
                    place: place(setting),
                    reason,
                });
            }
        }
        Ok(())
    }

    fn backend(
        &mut self,
        setting: &Setting,
        step: Step,
        value: String,
    ) -> Result<(), RabbitmqConfError> {
        let backend = match step {
            Step::CachedBoth | Step::CachedAuthn | Step::CachedAuthz => &mut self.cached,
            Step::Both | Step::Authn | Step::Authz => {
                let number = setting.key.0.get(1).and_then(|word| word.parse().ok());
                let number = number.ok_or_else(|| {
                    let reason =
                        "the place in the chain is a number, such as auth_backends.1".to_owned();
                    invalid(setting, &setting.value, reason)
                })?;
                self.backends.entry(number).or_default()
            }
        };
        let asked = match step {
            Step::Both | Step::CachedBoth => [Some(&mut backend.authn), Some(&mut backend.authz)],
            Step::Authn | Step::CachedAuthn => [Some(&mut backend.authn), None],
            Step::Authz | Step::CachedAuthz => [Some(&mut backend.authz), None],
        };
        for place in asked.into_iter().flatten() {
            if place.replace(value.clone()).is_some() {
                let reason = "another key names this backend already".to_owned();
                return Err(invalid(setting, &setting.value, reason));
            }
        }
        if !matches!(
            step,
            Step::CachedBoth | Step::CachedAuthn | Step::CachedAuthz
        ) {
            self.backends_origin = origin(setting);
        }
        Ok(())
    }

    fn finish(mut self) -> Translation {
        let mut given: Vec<Given> = Vec::new();
        for (option, (_, value, origin)) in std::mem::take(&mut self.single) {
            given.push(Given {
                option,
                values: vec![value],
                origin,
            });
        }
        if let Some(origin) = self.without_anonymous.take() {
            let others = [(0, "PLAIN"), (1, "AMQPLAIN")];
            let others = others.map(|(at, name)| ((at, String::new()), name.to_owned()));
            let list = self.lists.entry(MECHANISMS).or_insert_with(|| List {
                items: others.into(),
                origin,
            });
            list.items.retain(|(_, mechanism)| mechanism != "ANONYMOUS");
        }
        for (number, alias) in std::mem::take(&mut self.aliases) {
            if let [Some(role), Some(scopes)] = alias {
                let list = self.lists.entry(SCOPE_ALIASES).or_default();
                list.items
                    .push(((u64::MAX, number), format!("{role}={scopes}")));
            }
        }
        for (option, mut list) in std::mem::take(&mut self.lists) {
            list.items.sort();
            let mut values: Vec<String> = list.items.into_iter().map(|(_, item)| item).collect();
            // With items, `none` for the whole list has no effect, as in RabbitMQ.
            if values.len() > 1 {
                values.retain(|value| value != NONE);
            }
            if values.is_empty() {
                values.push(NONE.to_owned());
            }
            given.push(Given {
                option,
                values,
                origin: list.origin,
            });
        }
        for (option, Object { fields, origin }) in std::mem::take(&mut self.objects) {
            given.push(Given {
                option,
                values: vec![serde_json::json!(fields).to_string()],
                origin,
            });
        }
        given.extend(self.listeners());
        if !self.backends.is_empty() {
            given.push(self.chain());
        }
        Translation {
            given,
            warnings: self.warnings,
        }
    }

    fn listeners(&self) -> Vec<Given> {
        let of = |door: Door| self.doors.iter().filter(move |(other, ..)| *other == door);
        let mut given = Vec::new();
        for door in Door::ALL {
            let Some((.., origin)) = of(door).next() else {
                continue;
            };
            let part = |wanted: Part| {
                let found = of(door).find(|(_, part, ..)| *part == wanted);
                found.map(|(_, _, value, _)| value.clone())
            };
            let address = part(Part::Whole).unwrap_or_else(|| {
                let ip = part(Part::Ip).and_then(|ip| ip.parse().ok());
                let port = part(Part::Port).and_then(|port| port.parse().ok());
                let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                SocketAddr::new(ip, port.unwrap_or(door.port())).to_string()
            });
            given.push(Given {
                option: door.option(),
                values: vec![address],
                origin: origin.clone(),
            });
            if let Some(plain) = door.plain().filter(|plain| of(*plain).next().is_none()) {
                given.push(Given {
                    option: plain.option(),
                    values: vec![NONE.to_owned()],
                    origin: origin.clone(),
                });
            }
        }
        given
    }

    fn chain(&self) -> Given {
        let of_cache = |backend: &str, cached: Option<&String>| match (backend, cached) {
            (CACHE, Some(cached)) if cached != CACHE => cached.clone(),
            // RabbitMQ's cache stands before its own users, if nothing else is said.
            (CACHE, _) => "internal".to_owned(),
            (backend, _) => backend.to_owned(),
        };
        let step = |backend: &Backend| {
            // RabbitMQ asks the same backend in both steps when only one of them is named.
            let authn = backend.authn.as_ref().or(backend.authz.as_ref())?;
            let authz = backend.authz.as_ref().unwrap_or(authn);
            let authn = of_cache(authn, self.cached.authn.as_ref());
            let authz = of_cache(authz, self.cached.authz.as_ref());
            Some(match authn == authz {
                true => authn,
                false => format!("{authn}+{authz}"),
            })
        };
        Given {
            option: "auth-backends",
            values: self.backends.values().filter_map(step).collect(),
            origin: self.backends_origin.clone(),
        }
    }
}

/// The backend that remembers the answers of another. Here all but the internal one are cached.
const CACHE: &str = "cache";
const MECHANISMS: &str = "auth-mechanisms";
const SCOPE_ALIASES: &str = "oauth2-scope-aliases";
/// Empties a list.
const NONE: &str = "none";

fn order(key: &Key) -> Order {
    let last = key.0.last().cloned().unwrap_or_default();
    (last.parse().unwrap_or(u64::MAX), last)
}

/// File and line.
fn place(setting: &Setting) -> String {
    format!("{} line {}", setting.path.display(), setting.line)
}

/// Key, file and line.
fn origin(setting: &Setting) -> String {
    format!("{} in {}", setting.key, place(setting))
}

fn unknown(setting: &Setting) -> RabbitmqConfError {
    let key = setting.key.to_string();
    RabbitmqConfError::UnknownKey {
        near: crate::nearest::nearest(&key, keys::names()).map(str::to_owned),
        place: place(setting),
        key,
    }
}

pub(super) fn invalid(setting: &Setting, value: &str, reason: String) -> RabbitmqConfError {
    RabbitmqConfError::Invalid {
        key: setting.key.to_string(),
        place: place(setting),
        value: value.to_owned(),
        reason,
    }
}

#[cfg(test)]
pub(super) fn options() -> std::collections::BTreeSet<&'static str> {
    let of = |row: &Row| match row.meaning {
        Meaning::Sets(option)
        | Meaning::Adds(option)
        | Meaning::Spreads(option)
        | Meaning::Pairs(option)
        | Meaning::Marks(option)
        | Meaning::Field(option) => Some(option),
        Meaning::Web(door, _) => Some(door.option()),
        Meaning::AnonymousUser => Some(MECHANISMS),
        Meaning::Alias(_) => Some(SCOPE_ALIASES),
        Meaning::Backend(_) => Some("auth-backends"),
        Meaning::Always(..) | Meaning::Without(_) | Meaning::Refused(..) => None,
    };
    keys::rows().filter_map(of).collect()
}
