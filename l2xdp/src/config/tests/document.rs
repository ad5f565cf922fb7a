//! docs/configuration.md says what the code does.

use super::super::keys::{ROOT, SESSION, TUNNEL};
use super::accept;

const DOCUMENT: &str = include_str!("../../../../docs/configuration.md");

/// The keys of the table under the heading of a section.
fn documented(heading: &str) -> Vec<&'static str> {
    let heading = format!("\n## {heading}\n");
    let (_, section) = DOCUMENT.split_once(&heading).unwrap_or_else(|| panic!("no heading {heading}"));
    let rows = section.lines().take_while(|line| !line.starts_with("## "));
    rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn the_tables_list_the_keys_in_order() {
    for (heading, table) in
        [("The top of the file", &ROOT), ("`[[tunnel]]`", &TUNNEL), ("`[[tunnel.session]]`", &SESSION)]
    {
        let known: Vec<_> = table.names().filter(|key| !["tunnel", "session"].contains(key)).collect();
        assert_eq!(documented(heading), known);
    }
}

#[test]
fn the_examples_are_accepted() {
    let examples: Vec<_> =
        DOCUMENT.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        accept(example);
    }
}
