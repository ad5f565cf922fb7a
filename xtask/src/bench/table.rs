//! What was measured, as a table of medians and ratios.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The candidate that all are compared with.
const REFERENCE: &str = "tc";
/// What the cost of a packet contains besides the candidate's.
const COMMON: &str = "generator and sink alone";

/// A middle value, and how far others are from it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() {
            0 => return None,
            odd if odd % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Some(Self { least: sorted[0], median, most: sorted[sorted.len() - 1] })
    }
}

/// Costs in Markdown: the medians, less what all have in common, and ratios round by round.
pub fn table(unit: &str, measured: &Value) -> Result<String> {
    let figures = measured["figures"].as_object().context("nothing was measured")?;
    let series = |candidate: &str, measure: &str| -> Vec<f64> {
        let values = figures.get(candidate).and_then(|measures| measures[measure].as_array());
        values.into_iter().flatten().filter_map(Value::as_f64).collect()
    };
    let net = |candidate: &str, measure: &str| -> Vec<f64> {
        let common = series(COMMON, measure).into_iter().chain(std::iter::repeat(0.0));
        series(candidate, measure).into_iter().zip(common).map(|(gross, common)| gross - common).collect()
    };
    let mut text = format!(
        "Kernel {}, into {}, {} rounds. Cost in {unit}, without generator and sink: median (min–max); ratio to {REFERENCE}.\n\n",
        measured["kernel"].as_str().unwrap_or_default(),
        measured["device"].as_str().unwrap_or_default(),
        measured["rounds"],
    );
    let measures: Vec<_> = measures(figures.values());
    writeln!(text, "| | {} |", measures.join(" | "))?;
    writeln!(text, "|---|{}", "---|".repeat(measures.len()))?;
    for candidate in figures.keys() {
        let cells = measures.iter().map(|measure| {
            if candidate == COMMON {
                return Spread::of(series(candidate, measure))
                    .map_or_else(|| "–".into(), |cost| grouped(cost.median));
            }
            let costs = net(candidate, measure);
            let ratios = costs.iter().zip(net(REFERENCE, measure)).map(|(cost, reference)| cost / reference);
            cell(Spread::of(costs.iter().copied()), Spread::of(ratios))
        });
        writeln!(text, "| {candidate} | {} |", cells.collect::<Vec<_>>().join(" | "))?;
    }
    Ok(text)
}

/// The measures of all candidates, in their order.
fn measures<'a>(candidates: impl Iterator<Item = &'a Value>) -> Vec<&'a str> {
    let mut known = BTreeSet::new();
    let names = candidates.filter_map(Value::as_object).flat_map(|measures| measures.keys());
    names.map(String::as_str).filter(|name| known.insert(*name)).collect()
}

fn cell(cost: Option<Spread>, ratio: Option<Spread>) -> String {
    let (Some(cost), Some(ratio)) = (cost, ratio) else { return "–".to_owned() };
    format!("{}; {:.2} ({:.2}–{:.2})", grouped(cost.median), ratio.median, ratio.least, ratio.most)
}

/// A whole number, its digits in groups of three.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_spread_is_of_sorted_values() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { least: 1.0, median: 2.0, most: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { least: 1.0, median: 2.5, most: 4.0 }));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn costs_are_net_and_ratios_taken_round_by_round() {
        let measured = json!({"kernel": "6.1", "device": "l2tp_eth", "rounds": 3, "figures": {
            COMMON: {"packet": [100, 200, 100]},
            "tc": {"packet": [1100, 2200, 1100], "TCP": [50, 50, 50]},
            "xdp": {"packet": [600, 1200, 700], "TCP": [25, 25, 75]},
        }});
        let table = table("instructions", &measured).unwrap();
        let rows: Vec<_> = table.lines().skip(4).collect();
        assert_eq!(rows[0], "| generator and sink alone | 100 | – |");
        assert_eq!(rows[1], "| tc | 1 000; 1.00 (1.00–1.00) | 50; 1.00 (1.00–1.00) |");
        assert_eq!(rows[2], "| xdp | 600; 0.50 (0.50–0.60) | 25; 0.50 (0.50–1.50) |");
    }
}
