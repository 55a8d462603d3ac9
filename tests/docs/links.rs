//! Links between pages, and to other files of the repository.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use regex::Regex;

use crate::pages::{Page, pages, root};

/// Every relative link of a page: the file, and the heading behind `#`.
fn links(page: &Page) -> Vec<(String, Option<String>)> {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("a pattern");
    link.captures_iter(&page.text)
        .map(|found| found[1].to_owned())
        .filter(|target| !target.contains("://"))
        .map(|target| match target.split_once('#') {
            Some((file, heading)) => (file.to_owned(), Some(heading.to_owned())),
            None => (target, None),
        })
        .collect()
}

/// The anchors that a Markdown file's headings get: lower case, hyphens for spaces, no punctuation.
fn anchors(text: &str) -> HashSet<String> {
    let heading = |line: &str| {
        line.trim_start_matches('#')
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(heading)
        .collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_exist() {
    let mut broken = Vec::new();
    let pages = pages();
    for page in &pages {
        let folder = page.path.parent().unwrap_or(Path::new(""));
        for (file, heading) in links(page) {
            let target = match file.is_empty() {
                true => root().join(&page.path),
                false => root().join(folder).join(&file),
            };
            let leads = match heading {
                None => target.exists(),
                Some(heading) => {
                    fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(&heading))
                }
            };
            if !leads {
                broken.push(format!("{page}: {file}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_readme_leads_to_every_page_and_stays_short() {
    let pages = pages();
    let readme = pages
        .iter()
        .find(|page| page.path == Path::new("README.md"))
        .expect("README.md");
    let linked: HashSet<_> = links(readme).into_iter().map(|(file, _)| file).collect();
    for page in &pages {
        let path = page.to_string();
        assert!(
            page.path == readme.path || linked.contains(&path),
            "README.md does not lead to {path}"
        );
    }
    assert!(readme.text.lines().count() < 200, "README.md is too long");
}
