//! Which format a client gets. Pure.

use super::exposition::Format;

/// The format for an `Accept` header: OpenMetrics if the client prefers it, else the text format if it takes any text.
/// `None` if it takes neither.
pub(super) fn format_for(accept: Option<&str>) -> Option<Format> {
    let Some(accept) = accept else {
        return Some(Format::Text);
    };
    let mut best: Option<(f32, Format)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse().ok());
        let quality = quality.unwrap_or(1.0);
        let format = match &*media {
            "application/openmetrics-text" => Format::OpenMetrics,
            "text/plain" | "text/*" | "*/*" => Format::Text,
            _ => continue,
        };
        if quality > 0.0 && best.is_none_or(|(other, _)| quality > other) {
            best = Some((quality, format));
        }
    }
    best.map(|(_, format)| format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_the_format_that_they_prefer() {
        for (accept, format) in [
            (None, Some(Format::Text)),
            (Some("*/*"), Some(Format::Text)),
            (Some("text/plain"), Some(Format::Text)),
            (
                Some("application/openmetrics-text"),
                Some(Format::OpenMetrics),
            ),
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,\
                     text/plain;version=0.0.4;q=0.4,*/*;q=0.3",
                ),
                Some(Format::OpenMetrics),
            ),
            (
                Some("application/openmetrics-text; q=0.2, text/plain; q=0.4"),
                Some(Format::Text),
            ),
            (Some("application/json"), None),
            (Some("text/plain;q=0"), None),
            (Some(""), None),
        ] {
            assert_eq!(format_for(accept), format, "{accept:?}");
        }
    }
}
