//! What came of one test program, read from what it prints.

use std::process::ExitStatus;

/// How many tests did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ran, and were content.
    pub passed: u32,
    /// Ran and were not, or broke.
    pub failed: u32,
    /// Did not run.
    pub skipped: u32,
}

/// What came of one test program.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// The layer it belongs to.
    pub layer: String,
    /// Its main source file.
    pub source: String,
    /// Its tests.
    pub counts: Counts,
    /// The tests that failed, and what else went wrong.
    pub failures: Vec<String>,
    /// The tests that did not run, each with its reason.
    pub skips: Vec<String>,
    /// Whether it printed a result, as a test program does at its end.
    finished: bool,
}

impl Report {
    /// A report with nothing in it yet.
    pub fn new(layer: &str, source: &str) -> Self {
        Self {
            layer: layer.to_owned(),
            source: source.to_owned(),
            counts: Counts::default(),
            failures: Vec::new(),
            skips: Vec::new(),
            finished: false,
        }
    }

    /// Of a program that could not be run at all, which is a failure.
    pub fn broken(layer: &str, source: &str, why: &str) -> Self {
        let mut report = Self::new(layer, source);
        report.fail(why);
        report
    }

    /// Of a program that this machine cannot run.
    pub fn skipped(layer: &str, source: &str, why: &str) -> Self {
        let mut report = Self::new(layer, source);
        report.counts.skipped = 1;
        report.skips.push(format!("all of it: {why}"));
        report
    }

    /// Takes in a line that the program printed.
    pub fn read(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.finished = true;
            self.counts.passed += count(result, "passed");
            self.counts.failed += count(result, "failed");
            self.counts.skipped += count(result, "ignored");
        } else if let Some(skip) = line.strip_prefix("skipped: ") {
            self.skips.push(skip.to_owned());
        } else if let Some((test, outcome)) =
            line.strip_prefix("test ").and_then(|line| line.split_once(" ... "))
        {
            if outcome.starts_with("FAILED") {
                self.failures.push(test.to_owned());
            } else if let Some(reason) = outcome.strip_prefix("ignored, ") {
                self.skips.push(format!("{test}: {reason}"));
            }
        }
    }

    /// Takes in how the program ended. One that fails without a failed test, or ends without a result, is broken.
    pub fn end(&mut self, status: ExitStatus) {
        if !self.finished {
            self.fail(&format!("it ended without a result ({status})"));
        } else if !status.success() && self.counts.failed == 0 {
            self.fail(&format!("no test failed, but the program did ({status})"));
        }
        let silent = (self.counts.skipped as usize).saturating_sub(self.skips.len());
        if silent > 0 {
            self.skips.push(format!("{silent} without a reason"));
        }
    }

    /// Counts something as failed that no line of the program's told.
    pub fn fail(&mut self, why: &str) {
        self.counts.failed += 1;
        self.failures.push(why.to_owned());
    }
}

/// The number before `word` in "ok. 3 passed; 0 failed; 1 ignored; …".
fn count(result: &str, word: &str) -> u32 {
    let before = result.split(word).next().unwrap_or_default().trim_end();
    before.rsplit([' ', ';']).next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    const OK: i32 = 0;
    const FAILED: i32 = 101 << 8;
    const SEGV: i32 = 11;

    fn report(lines: &str, wait_status: i32) -> Report {
        let mut report = Report::new("host", "a.rs");
        lines.lines().for_each(|line| report.read(line));
        report.end(ExitStatus::from_raw(wait_status));
        report
    }

    #[test]
    fn results_are_counted_and_skips_keep_their_reasons() {
        let report = report(
            "running 4 tests\n\
             test a ... ok\n\
             test b ... ignored, needs root\n\
             skipped: c: no iperf3 here\n\
             test c ... ignored\n\
             test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.1s\n",
            OK,
        );
        assert_eq!(report.counts, Counts { passed: 12, failed: 0, skipped: 2 });
        assert_eq!(report.skips, ["b: needs root", "c: no iperf3 here"]);
        assert!(report.failures.is_empty());
    }

    #[test]
    fn skips_without_a_reason_are_told_as_such() {
        let lines = "test a ... ignored\ntest result: ok. 0 passed; 0 failed; 1 ignored; 0 measured\n";
        assert_eq!(report(lines, OK).skips, ["1 without a reason"]);
    }

    #[test]
    fn failed_tests_are_named() {
        let lines = "test a ... FAILED\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured\n";
        let report = report(lines, FAILED);
        assert_eq!(report.counts, Counts { passed: 0, failed: 1, skipped: 0 });
        assert_eq!(report.failures, ["a"]);
    }

    #[test]
    fn a_program_without_a_result_is_a_failure_even_if_it_ends_well() {
        for status in [OK, FAILED, SEGV] {
            let report = report("test a ... ok\n", status);
            assert_eq!(report.counts, Counts { passed: 0, failed: 1, skipped: 0 });
            assert!(report.failures[0].contains("without a result"), "{:?}", report.failures);
        }
    }

    #[test]
    fn a_program_that_dies_after_good_tests_is_a_failure() {
        let report = report("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured\n", SEGV);
        assert_eq!(report.counts, Counts { passed: 3, failed: 1, skipped: 0 });
    }
}
