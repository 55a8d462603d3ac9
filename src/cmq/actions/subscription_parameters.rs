//! What a request says of a subscription: retry strategy, format and filter. Each is `None` if the request does not say.

use std::collections::HashSet;

use crate::broker::permissions::Permission;
use crate::cmq::call::Call;
use crate::cmq::error::CmqError;
use crate::cmq::filter::{Filter, FilterKind};
use crate::cmq::topics::{Endpoint, Format, Strategy, Topic};

/// `notifyStrategy`.
pub(super) fn strategy(call: &Call<'_>) -> Result<Option<Strategy>, CmqError> {
    let named = |name| Strategy::named(name).ok_or(CmqError::UndefinedStrategy);
    let name = call.parameters.text("notifyStrategy");
    name.filter(|name| !name.is_empty()).map(named).transpose()
}

/// `notifyContentFormat`. Queues get bodies as they are, whatever it says: clients that let the user choose a format
/// also ask for JSON there.
pub(super) fn format(call: &Call<'_>, endpoint: &Endpoint) -> Result<Option<Format>, CmqError> {
    let name = call.parameters.text("notifyContentFormat");
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    match (endpoint, Format::named(name)) {
        (_, None) => Err(CmqError::UndefinedFormat),
        (Endpoint::Queue { .. }, Some(_)) => Ok(Some(Format::Simplified)),
        (Endpoint::Http { .. }, format) => Ok(format),
    }
}

/// `filterTag.n` or `bindingKey.n`, whichever the topic filters by.
pub(super) fn filter(call: &Call<'_>, kind: FilterKind) -> Result<Option<Filter>, CmqError> {
    let config = &call.api.config;
    let (tags, keys) = (
        distinct_items(call, "filterTag")?,
        distinct_items(call, "bindingKey")?,
    );
    let max = config.filters_max;
    if tags.len() > max {
        return Err(CmqError::TooManyFilterTags);
    }
    if keys.len() > max {
        return Err(CmqError::TooManyBindingKeys);
    }
    if tags.len() + keys.len() > max {
        return Err(CmqError::TooManyFilters);
    }
    if !tags.iter().all(|tag| config.is_tag(tag)) {
        return Err(CmqError::OutOfRange("filterTag".to_owned()));
    }
    for key in &keys {
        config.check_key("bindingKey", key)?;
    }
    Ok(match kind {
        FilterKind::Tags if !tags.is_empty() => Some(Filter::Tags(tags)),
        FilterKind::Keys if !keys.is_empty() => Some(Filter::Keys(keys)),
        FilterKind::Tags | FilterKind::Keys => None,
    })
}

/// The items of a list, each once. Clients write an empty list as one empty item.
fn distinct_items(call: &Call<'_>, name: &str) -> Result<Vec<String>, CmqError> {
    let items = call.parameters.list(name, usize::MAX)?;
    let items = items.into_iter().map(|(_, item)| item.to_owned());
    let mut items: Vec<String> = items.filter(|item| !item.is_empty()).collect();
    let mut seen = HashSet::new();
    items.retain(|item| seen.insert(item.clone()));
    Ok(items)
}

/// Refuses binding keys that the caller has no permission for.
pub(super) fn check_keys(call: &Call<'_>, topic: &Topic, filter: &Filter) -> Result<(), CmqError> {
    let mut keys = filter.keys().iter();
    keys.try_for_each(|key| call.check_key(Permission::Read, topic, key))
}
