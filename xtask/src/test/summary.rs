//! The table at the end of `cargo xtask test`.

use super::report::{Counts, Report};

/// All layers with their counts, the failures and the skips with their reasons, and the sum in plain words.
pub fn table(reports: &[Report]) -> String {
    let width =
        |text: fn(&Report) -> &str| reports.iter().map(|report| text(report).len()).max().unwrap_or(0);
    let (layers, sources) = (width(|report| &report.layer), width(|report| &report.source));
    let mut text = format!("\n{:layers$}  {:sources$}  passed  failed  skipped\n", "layer", "tests");
    for Report { layer, source, counts, .. } in reports {
        let Counts { passed, failed, skipped } = counts;
        text += &format!("{layer:layers$}  {source:sources$}  {passed:>6}  {failed:>6}  {skipped:>7}\n");
    }
    text += &list("failed", reports, |report| &report.failures);
    text += &list("skipped", reports, |report| &report.skips);

    let Counts { passed, failed, skipped } = total(reports);
    text + &format!("\n{passed} passed, {failed} failed, {skipped} skipped\n")
}

fn list(title: &str, reports: &[Report], lines: fn(&Report) -> &[String]) -> String {
    let lines = reports.iter().flat_map(|report| {
        lines(report).iter().map(move |line| format!("  {}, {}: {line}\n", report.layer, report.source))
    });
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\n{title}:\n{lines}") }
}

fn total(reports: &[Report]) -> Counts {
    reports.iter().fold(Counts::default(), |sum, Report { counts, .. }| Counts {
        passed: sum.passed + counts.passed,
        failed: sum.failed + counts.failed,
        skipped: sum.skipped + counts.skipped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_adds_up_and_keeps_every_reason() {
        let mut good = Report::new("host", "a/src/lib.rs");
        good.read("test b ... ignored, needs root");
        good.read("test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured");
        let reports = [
            good,
            Report::broken("namespaces", "tests/tests/x.rs", "it was not built"),
            Report::skipped("kernel 6.1", "tests/tests/kernel.rs", "no VM can be had: no QEMU"),
        ];
        assert_eq!(
            table(&reports),
            "
layer       tests                  passed  failed  skipped
host        a/src/lib.rs                7       0        1
namespaces  tests/tests/x.rs            0       1        0
kernel 6.1  tests/tests/kernel.rs       0       0        1

failed:
  namespaces, tests/tests/x.rs: it was not built

skipped:
  host, a/src/lib.rs: b: needs root
  kernel 6.1, tests/tests/kernel.rs: all of it: no VM can be had: no QEMU

7 passed, 1 failed, 2 skipped
"
        );
    }
}
