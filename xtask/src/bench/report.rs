//! What a bench has measured.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::interrupt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Figures, and what they are.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// What was measured.
    pub bench: String,
    /// What `uname -r` says where it was.
    pub kernel: String,
    /// What the figures are, unless their measures say so.
    pub unit: String,
    /// What else has to be known to judge them.
    pub notes: Vec<String>,
    /// How often every candidate was measured.
    pub rounds: usize,
    /// The candidate that all are compared with.
    pub reference: String,
    /// The candidate that stands for what all figures contain and none is to blame for.
    pub common: Option<String>,
    /// Measures that are not compared.
    #[serde(default)]
    pub absolute: Vec<String>,
    /// Others to compare, the one with the other.
    pub pairs: Vec<[String; 2]>,
    /// The figures.
    pub figures: Figures,
}

/// Figures of every round, by candidate and measure.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures(Map<String, Value>);

/// What a candidate has come to in a round, by measure.
pub type Measured = Vec<(String, f64)>;

impl Report {
    /// The candidates, in their order.
    pub fn candidates(&self) -> impl Iterator<Item = &str> {
        self.figures.0.keys().map(String::as_str)
    }

    /// The measures of all candidates, in their order.
    pub fn measures(&self) -> Vec<&str> {
        let mut known = BTreeSet::new();
        let names = self.figures.0.values().filter_map(Value::as_object).flat_map(Map::keys);
        names.map(String::as_str).filter(|name| known.insert(*name)).collect()
    }

    /// A candidate's figures, less what all have in common.
    pub fn net(&self, candidate: &str, measure: &str) -> Vec<f64> {
        let gross = self.figures.series(candidate, measure);
        match &self.common {
            Some(common) if common != candidate => {
                let common = self.figures.series(common, measure).into_iter().chain(std::iter::repeat(0.0));
                gross.into_iter().zip(common).map(|(gross, common)| gross - common).collect()
            }
            _ => gross,
        }
    }

    /// A candidate's figures by another's, round by round, unless they are not to be compared.
    pub fn ratios(&self, candidate: &str, other: &str, measure: &str) -> Vec<f64> {
        if self.absolute.iter().any(|name| name == measure) {
            return Vec::new();
        }
        let others = self.net(other, measure);
        self.net(candidate, measure).into_iter().zip(others).map(|(one, other)| one / other).collect()
    }
}

impl Figures {
    /// All figures of a candidate by one measure.
    pub fn series(&self, candidate: &str, measure: &str) -> Vec<f64> {
        let values = self.0.get(candidate).and_then(|measures| measures[measure].as_array());
        values.into_iter().flatten().filter_map(Value::as_f64).collect()
    }

    /// Adds a round's.
    pub fn add(&mut self, candidate: &str, measured: Measured) {
        let known = self.0.entry(candidate).or_insert_with(|| json!({}));
        for (measure, figure) in measured {
            match known[&measure].as_array_mut() {
                Some(figures) => figures.push(figure.into()),
                None => known[&measure] = json!([figure]),
            }
        }
    }
}

/// Measures every candidate once a round, each round beginning with another one. A round that fails, as by a lost packet, is
/// told of and does not count.
pub fn alternate<C: Copy>(
    rounds: usize,
    candidates: &[C],
    name: impl Fn(C) -> String,
    measure: impl Fn(C) -> Result<Measured>,
) -> Result<Figures> {
    let mut figures = Figures::default();
    candidates.iter().for_each(|candidate| figures.add(&name(*candidate), Vec::new()));
    let mut failures = 0;
    for round in 0..rounds {
        let start = round % candidates.len().max(1);
        for &candidate in candidates[start..].iter().chain(&candidates[..start]) {
            let measured = loop {
                let context = || format!("round {}, {}", round + 1, name(candidate));
                match measure(candidate).with_context(context) {
                    Ok(measured) => break measured,
                    Err(error) if failures >= rounds || interrupt::came() => return Err(error),
                    Err(error) => eprintln!("bench: {error:#}; once more"),
                }
                failures += 1;
            };
            figures.add(&name(candidate), measured);
        }
    }
    ensure!(!figures.0.is_empty(), "there is nothing to compare here");
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::bail;

    use super::*;

    #[test]
    fn candidates_take_turns_and_a_failed_round_is_repeated() {
        let calls = Cell::new(0);
        let measure = |candidate: char| {
            calls.set(calls.get() + 1);
            if calls.get() == 2 {
                bail!("a packet is lost");
            }
            Ok(vec![(format!("measure of {candidate}"), f64::from(calls.get()))])
        };
        let figures = alternate(2, &['a', 'b'], |candidate| candidate.to_string(), measure).unwrap();
        assert_eq!(figures.series("a", "measure of a"), [1.0, 5.0]);
        assert_eq!(figures.series("b", "measure of b"), [3.0, 4.0]);
        let fails = |_| -> Result<Measured> { bail!("nothing comes") };
        let error = alternate(2, &['a'], |_| String::new(), fails).unwrap_err();
        assert_eq!(format!("{error:#}"), "round 1, : nothing comes");
    }
}
