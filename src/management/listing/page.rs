//! Pages of lists, and the filter by name that only pages have.

use fancy_regex::{Regex, RegexBuilder};
use serde::Serialize;
use utoipa::ToSchema;

use super::query::ListQuery;
use super::row::Row;
use crate::management::error::ApiError;
use crate::management::limits::{
    PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, REGEX_BYTES_MAX, REGEX_SIZE_MAX, REGEX_STEPS_MAX,
    ROWS_AT_ONCE,
};

/// A page that a client asks for.
#[derive(Debug)]
pub(super) struct PageRequest {
    /// From 1.
    page: usize,
    page_size: usize,
    filter: Filter,
}

#[derive(Debug)]
enum Filter {
    All,
    /// Names that contain this text in lower case.
    Containing(String),
    Matching(Box<Regex>),
    /// No row: the regular expression is malformed.
    None,
}

/// The numbers of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::management) struct PageHead {
    /// Rows before the filter.
    pub(super) total_count: usize,
    /// Rows in this page.
    pub(super) item_count: usize,
    /// Rows in all pages.
    pub(super) filtered_count: usize,
    pub(super) page: usize,
    pub(super) page_size: usize,
    pub(super) page_count: usize,
}

impl PageRequest {
    /// `None` if the client asks for the whole list.
    pub(super) fn parse(query: &ListQuery) -> Result<Option<PageRequest>, ApiError> {
        let page = number(query.page.as_deref())?;
        let page_size = number(query.page_size.as_deref())?;
        let filter = Filter::parse(query)?;
        let Some(page) = page else {
            return Ok(None);
        };
        let size = page_size.unwrap_or(i64::try_from(PAGE_SIZE_DEFAULT).unwrap_or(i64::MAX));
        let positive = |number: i64| usize::try_from(number).ok().filter(|number| *number > 0);
        match (positive(page), positive(size)) {
            (Some(page), Some(page_size)) if page_size <= PAGE_SIZE_MAX => Ok(Some(PageRequest {
                page,
                page_size,
                filter,
            })),
            _ => {
                let size = page_size.map_or("undefined".to_owned(), |size| size.to_string());
                Err(ApiError::InvalidPage {
                    error: "invalid_pagination_parameters",
                    reason: format!(
                        "Invalid pagination parameters: page number {page}, page size {size}"
                    ),
                })
            }
        }
    }

    /// Drops rows that the filter does not name.
    pub(super) async fn filter<R: Row>(&self, rows: &mut Vec<R>) {
        if matches!(self.filter, Filter::All) {
            return;
        }
        let mut kept = Vec::new();
        for (index, row) in std::mem::take(rows).into_iter().enumerate() {
            if self.filter.shows(row.name()) {
                kept.push(row);
            }
            if index % ROWS_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        *rows = kept;
    }
}

impl Filter {
    fn parse(query: &ListQuery) -> Result<Filter, ApiError> {
        let is_regex = query.use_regex.as_deref() == Some("true");
        match query.name.as_deref() {
            None | Some("") => Ok(Filter::All),
            Some(name) if !is_regex => Ok(Filter::Containing(name.to_lowercase())),
            Some(name) if name.len() > REGEX_BYTES_MAX => Err(ApiError::InvalidPage {
                error: "invalid_pagination_parameters",
                reason: "name filter regex is too long".to_owned(),
            }),
            Some(name) => Ok(RegexBuilder::new(name)
                .case_insensitive(true)
                .backtrack_limit(REGEX_STEPS_MAX)
                .delegate_size_limit(REGEX_SIZE_MAX)
                .build()
                .map_or(Filter::None, |regex| Filter::Matching(Box::new(regex)))),
        }
    }

    fn shows(&self, name: &str) -> bool {
        match self {
            Filter::All => true,
            Filter::Containing(text) => name.to_lowercase().contains(text),
            Filter::Matching(regex) => regex.is_match(name).unwrap_or(false),
            Filter::None => false,
        }
    }
}

/// Reduces the sorted rows to those of the page.
pub(super) fn select<R>(
    request: &PageRequest,
    total: usize,
    rows: &mut Vec<R>,
) -> Result<PageHead, ApiError> {
    let PageRequest {
        page, page_size, ..
    } = *request;
    let filtered = rows.len();
    let begin = (page - 1).saturating_mul(page_size);
    if begin > filtered {
        return Err(ApiError::InvalidPage {
            error: "page_out_of_range",
            reason: format!(
                "Page out of range, page: {page} page size: {page_size}, len: {filtered}"
            ),
        });
    }
    rows.drain(..begin);
    rows.truncate(page_size);
    rows.shrink_to_fit();
    Ok(PageHead {
        total_count: total,
        item_count: rows.len(),
        filtered_count: filtered,
        page,
        page_size,
        page_count: filtered.div_ceil(page_size),
    })
}

fn number(text: Option<&str>) -> Result<Option<i64>, ApiError> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|_| ApiError::InvalidPage {
        error: "bad_request",
        reason: "Pagination parameters are invalid".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(page: &str, page_size: Option<&str>) -> ListQuery {
        ListQuery {
            page: Some(page.to_owned()),
            page_size: page_size.map(str::to_owned),
            ..ListQuery::default()
        }
    }

    fn page(
        page: &str,
        page_size: Option<&str>,
        rows: usize,
    ) -> Result<(PageHead, Vec<usize>), String> {
        let mut rows: Vec<usize> = (0..rows).collect();
        let total = rows.len();
        let request = PageRequest::parse(&query(page, page_size));
        let selected = request.and_then(|request| select(&request.unwrap(), total, &mut rows));
        match selected {
            Ok(head) => Ok((head, rows)),
            Err(ApiError::InvalidPage { error, reason }) => Err(format!("{error}: {reason}")),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages_have_their_rows_and_numbers() {
        let (head, rows) = page("2", Some("3"), 8).unwrap();
        assert_eq!(rows, [3, 4, 5]);
        let expected = PageHead {
            total_count: 8,
            item_count: 3,
            filtered_count: 8,
            page: 2,
            page_size: 3,
            page_count: 3,
        };
        assert_eq!(head, expected);
        assert_eq!(page("3", Some("3"), 8).unwrap().1, [6, 7]);
        assert_eq!(page("1", None, 200).unwrap().1.len(), PAGE_SIZE_DEFAULT);
        // The page after a full last one is empty, as in RabbitMQ.
        assert_eq!(page("2", Some("4"), 4).unwrap().1, [0; 0]);
        assert_eq!(page("1", Some("500"), 0).unwrap().0.page_count, 0);
    }

    #[test]
    fn wrong_pages_are_refused_in_rabbitmqs_words() {
        let invalid = |page, size| {
            format!(
                "invalid_pagination_parameters: Invalid pagination parameters: page number {page}, page size {size}"
            )
        };
        for (number, size, expected) in [
            ("0", None, invalid("0", "undefined")),
            ("-1", Some("5"), invalid("-1", "5")),
            ("1", Some("501"), invalid("1", "501")),
            ("1", Some("0"), invalid("1", "0")),
            ("x", None, "bad_request: Pagination parameters are invalid".to_owned()),
            ("1", Some(""), "bad_request: Pagination parameters are invalid".to_owned()),
            (
                "9",
                Some("3"),
                "page_out_of_range: Page out of range, page: 9 page size: 3, len: 8".to_owned(),
            ),
            (
                "9223372036854775807",
                Some("500"),
                "page_out_of_range: Page out of range, page: 9223372036854775807 page size: 500, len: 8".to_owned(),
            ),
        ] {
            assert_eq!(page(number, size, 8), Err(expected));
        }
    }

    #[test]
    fn names_are_filtered_by_text_or_expression() {
        let shows = |filter: &str, use_regex: Option<&str>, name: &str| {
            let query = ListQuery {
                name: Some(filter.to_owned()),
                use_regex: use_regex.map(str::to_owned),
                ..ListQuery::default()
            };
            Filter::parse(&query).map(|filter| filter.shows(name))
        };
        let regex = Some("true");
        for (filter, use_regex, name, expected) in [
            ("", None, "q", true),
            ("RDER", None, "orders", true),
            ("^o", None, "orders", false),
            ("^O.*s$", regex, "orders", true),
            ("^r", regex, "orders", false),
            ("(?!x)o", regex, "orders", true),
            ("(", regex, "(", false),
            ("(", Some("false"), "(", true),
            // Would take exponential time.
            ("(a|a|b?)*c(?=d)", regex, &"a".repeat(200), false),
        ] {
            assert_eq!(shows(filter, use_regex, name), Ok(expected), "{filter}");
        }
        let long = "a".repeat(REGEX_BYTES_MAX + 1);
        assert!(shows(&long, regex, "a").is_err());
        assert_eq!(shows(&long, None, "a"), Ok(false));
    }
}
