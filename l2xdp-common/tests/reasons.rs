//! The reasons, their labels, what they say of themselves and what ARCHITECTURE.md says of them are one table.

use l2xdp_common::Reason;
use std::collections::HashSet;
use std::fs;

#[test]
fn counters_are_in_the_order_of_the_table() {
    for (at, &reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(reason as usize, at, "{reason:?}");
    }
}

#[test]
fn labels_are_unique_names() {
    let mut seen = HashSet::new();
    for label in Reason::ALL.iter().map(|reason| reason.label()) {
        assert!(!label.is_empty() && label.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{label}");
        assert!(seen.insert(label), "two reasons are called {label}");
    }
}

#[test]
fn every_reason_says_what_it_counts() {
    for reason in Reason::ALL {
        let help = reason.help().trim();
        assert!(help.len() > 10 && help.ends_with('.'), "{reason:?}: {help:?}");
    }
}

#[test]
fn architecture_has_the_same_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md");
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let written: Vec<_> = table(&text).collect();
    let expected: Vec<_> = Reason::ALL.iter().map(|&reason| row(reason)).collect();

    let mut difference = String::new();
    for line in written.iter().filter(|line| !expected.iter().any(|row| row == *line)) {
        difference += &format!("- {line}\n");
    }
    for row in expected.iter().filter(|row| !written.contains(&row.as_str())) {
        difference += &format!("+ {row}\n");
    }
    assert!(difference.is_empty(), "the table in ARCHITECTURE.md is not that of reason.rs:\n{difference}");
    assert_eq!(written, expected, "the rows of ARCHITECTURE.md are in another order than those of reason.rs");
}

/// The rows of the table of reasons.
fn table(text: &str) -> impl Iterator<Item = &str> {
    let below = text.lines().skip_while(|line| !line.starts_with("| reason | verdict |")).skip(2);
    below.take_while(|line| line.starts_with('|'))
}

fn row(reason: Reason) -> String {
    let verdict = format!("{:?}", reason.verdict()).to_lowercase();
    format!("| `{}` | {verdict} | {} |", reason.label(), reason.help().trim())
}
