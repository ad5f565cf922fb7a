//! What was measured, as a table of medians and ratios.

use std::fmt::Write as _;

use anyhow::Result;

use super::report::Report;
use super::spread::{Spread, shown};

/// A report in Markdown: the medians, less what all have in common, and ratios round by round.
pub fn table(report: &Report) -> Result<String> {
    let mut text = format!(
        "{}: kernel {}, {} rounds. In {}{}: median (min–max); ratio to {} (min–max).\n",
        report.bench,
        report.kernel,
        report.rounds,
        report.unit,
        report.common.as_ref().map(|common| format!(", without “{common}”")).unwrap_or_default(),
        report.reference,
    );
    report.notes.iter().try_for_each(|note| writeln!(text, "{note}"))?;
    let measures = report.measures();
    writeln!(text, "\n| | {} |", measures.join(" | "))?;
    writeln!(text, "|---|{}", "---|".repeat(measures.len()))?;
    for candidate in report.candidates() {
        let cells = measures.iter().map(|measure| cell(report, candidate, measure));
        writeln!(text, "| {candidate} | {} |", cells.collect::<Vec<_>>().join(" | "))?;
    }
    let known: Vec<_> = report.candidates().collect();
    for [one, other] in report.pairs.iter().filter(|pair| pair.iter().all(|name| known.contains(&&**name))) {
        let ratios = measures.iter().map(|measure| ratio(&report.ratios(one, other, measure)));
        writeln!(text, "| {one} : {other} | {} |", ratios.collect::<Vec<_>>().join(" | "))?;
    }
    Ok(text)
}

fn cell(report: &Report, candidate: &str, measure: &str) -> String {
    let figures = spread(&report.net(candidate, measure), shown);
    let ratios = report.ratios(candidate, &report.reference, measure);
    if report.common.as_deref() == Some(candidate) || ratios.is_empty() {
        return figures;
    }
    format!("{figures}; {}", ratio(&ratios))
}

fn ratio(values: &[f64]) -> String {
    spread(values, |ratio| format!("{ratio:.2}"))
}

fn spread(values: &[f64], shown: impl Fn(f64) -> String) -> String {
    let Some(spread) = Spread::of(values.iter().copied()) else { return "–".to_owned() };
    let [least, median, most] = [spread.least, spread.median, spread.most].map(shown);
    if least == most { median } else { format!("{median} ({least}–{most})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn costs_are_net_and_ratios_taken_round_by_round() {
        let report = json!({
            "bench": "receive", "kernel": "6.1", "unit": "instructions", "notes": ["Beware."], "rounds": 3,
            "reference": "tc", "common": "alone", "absolute": ["size"], "pairs": [["xdp", "tc"], ["no", "tc"]],
            "figures": {
                "alone": {"packet": [100, 200, 100]},
                "tc": {"packet": [1100, 2200, 1100], "TCP": [50, 50, 50]},
                "xdp": {"packet": [600, 1200, 700], "TCP": [25, 25, 75], "size": [7]},
            },
        });
        let table = table(&serde_json::from_value(report).unwrap()).unwrap();
        let rows: Vec<_> = table.lines().collect();
        assert_eq!(
            rows[..3],
            [
                "receive: kernel 6.1, 3 rounds. In instructions, without “alone”: median (min–max); ratio to tc (min–max).",
                "Beware.",
                "",
            ]
        );
        assert_eq!(
            rows[5..],
            [
                "| alone | 100 (100–200) | – | – |",
                "| tc | 1 000 (1 000–2 000); 1.00 | 50.0; 1.00 | – |",
                "| xdp | 600 (500–1 000); 0.50 (0.50–0.60) | 25.0 (25.0–75.0); 0.50 (0.50–1.50) | 7.00 |",
                "| xdp : tc | 0.50 (0.50–0.60) | 0.50 (0.50–1.50) | – |",
            ]
        );
    }
}
