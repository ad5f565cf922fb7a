//! What the lab shows: for a person step by step, for machines one JSON document at the end.

use std::io::{self, IsTerminal as _};
use std::time::Instant;

use anyhow::Result;
use l2xdp_tests::interrupt;
use serde_json::{Map, Value, json};

use super::Args;

/// Everything shown so far.
pub struct Report {
    json: bool,
    attach: String,
    start: Instant,
    steps: Vec<Value>,
    failures: usize,
}

/// One step of it.
pub struct Step<'report> {
    report: &'report Report,
    checks: Vec<Value>,
    facts: Map<String, Value>,
    failures: usize,
}

impl Report {
    /// An empty one.
    pub fn new(args: &Args) -> Self {
        let attach = format!("{:?}", args.attach).to_lowercase();
        Self { json: args.json, attach, start: Instant::now(), steps: Vec::new(), failures: 0 }
    }

    /// Shows a person something.
    pub fn say(&self, text: &str) {
        if self.json { eprintln!("{text}") } else { println!("{text}") }
    }

    /// Shows a step, which has a name for machines and a title for a person. Nothing, if it broke, which
    /// counts as a failure; only Ctrl-C is an error.
    pub fn step<T>(
        &mut self,
        name: &str,
        title: &str,
        show: impl FnOnce(&mut Step<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        interrupt::check()?;
        self.say(&self.painted(BOLD, &format!("\n{}. {title}", self.steps.len() + 1)));
        let mut step = Step { report: self, checks: Vec::new(), facts: Map::new(), failures: 0 };
        let shown = show(&mut step);
        interrupt::check()?;
        if let Err(error) = &shown {
            step.check(false, &format!("{error:#}"));
        }
        let Step { checks, mut facts, failures, .. } = step;
        facts.insert("name".into(), name.into());
        facts.insert("title".into(), title.into());
        facts.insert("ok".into(), (failures == 0).into());
        facts.insert("checks".into(), checks.into());
        self.steps.push(facts.into());
        self.failures += failures;
        Ok(shown.ok())
    }

    /// How many checks failed.
    pub fn failures(&self) -> usize {
        self.failures
    }

    /// Ends it, for a run that went to its end or did not.
    pub fn finish(&self, complete: bool) {
        let ok = complete && self.failures == 0 && !interrupt::came();
        let seconds = self.start.elapsed().as_secs_f64();
        if self.json {
            println!(
                "{:#}",
                json!({"ok": ok, "attach": self.attach, "seconds": seconds, "steps": self.steps})
            );
        } else if ok {
            self.say(&self.painted(GREEN, &format!("\nAll of it held, in {seconds:.0} s.")));
        }
    }

    fn painted(&self, paint: &str, text: &str) -> String {
        let plain = self.json || !io::stdout().is_terminal();
        if plain { text.to_owned() } else { format!("{paint}{text}{RESET}") }
    }
}

impl Step<'_> {
    /// Shows a person a text, line by line.
    pub fn say(&self, text: &str) {
        text.lines().for_each(|line| self.report.say(&format!("     {line}")));
    }

    /// Shows whether something holds; the step fails if not.
    pub fn check(&mut self, holds: bool, text: &str) {
        let mark = if holds { self.report.painted(GREEN, "✓") } else { self.report.painted(RED, "✗") };
        self.report.say(&format!("   {mark} {text}"));
        self.checks.push(json!({"ok": holds, "text": text}));
        self.failures += usize::from(!holds);
    }

    /// Tells machines something.
    pub fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }
}

const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";
