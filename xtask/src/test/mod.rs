//! `cargo xtask test`: every layer of tests, and one table of what came of them.

mod report;
mod run;
mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum as _;

use crate::project::{self, Artifact};
use crate::setup::{self, Need};
use crate::vm::Kernel;
use report::Report;
use run::Plan;

/// The options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Debian's kernels to boot for the tests that ask one: some of 6.1, 6.12 and newest, with commas between
    /// them, or all. The kernel that runs here is always asked.
    #[arg(long, value_parser = kernels, default_value = "6.1")]
    kernels: Kernels,
    /// Run only the tests whose names contain this.
    filter: Option<String>,
}

/// As a type of its own clap takes one list for one value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kernels(Vec<Kernel>);

/// The test programs that run under each kernel, seen from the workspace. They run here too, and skip what this
/// kernel can't do.
const KERNEL_TESTS: [&str; 4] = [
    "tests/tests/kernel.rs",
    "l2xdp/tests/l2tp.rs",
    "tests/tests/l2tp/main.rs",
    "tests/tests/adoption/main.rs",
];

/// Builds and runs all tests, and prints the table; fails if any test did.
pub fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(&[Need::Compiler, Need::Lab])?;
    let plan = Plan { loader: project::build_loader()?, filter: args.filter.clone() };
    let tests = build_tests()?;

    let mut reports: Vec<_> = tests.iter().map(|test| run::on_host(&plan, test)).collect();
    reports.push(run::documentation(&plan));
    for &kernel in &args.kernels.0 {
        reports.extend(KERNEL_TESTS.map(|name| under_kernel(&plan, kernel, &tests, name)));
    }
    print!("{}", summary::table(&reports));
    let failed = reports.iter().any(|report| report.counts.failed > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn kernels(text: &str) -> Result<Kernels, String> {
    if text == "all" {
        return Ok(Kernels(Kernel::value_variants().to_vec()));
    }
    let kernels = text.split(',').map(|name| Kernel::from_str(name, false));
    kernels.collect::<Result<_, _>>().map(Kernels).map_err(|_| "write 6.1, 6.12, newest, or all".to_owned())
}

fn under_kernel(plan: &Plan, kernel: Kernel, tests: &[Artifact], name: &str) -> Report {
    match tests.iter().find(|test| source(test) == Path::new(name)) {
        Some(test) => run::in_vm(plan, test, kernel),
        None => {
            Report::broken(&format!("VM {}", kernel.name()), name, "it was not built: the file is missing")
        }
    }
}

/// All test programs of the workspace: those of single crates first, those that need namespaces last.
fn build_tests() -> Result<Vec<Artifact>> {
    let mut tests = project::build(project::cargo().args(["test", "--workspace", "--no-run"]))?;
    tests.retain(|built| built.profile.test);
    tests.sort_by_key(|test| (needs_namespaces(test), source(test)));
    Ok(tests)
}

fn needs_namespaces(test: &Artifact) -> bool {
    let source = source(test);
    source.starts_with("tests") || KERNEL_TESTS.iter().any(|name| source == Path::new(name))
}

/// A test program's main source file, seen from the workspace: the name it goes by.
fn source(test: &Artifact) -> PathBuf {
    let path = &test.target.src_path;
    path.strip_prefix(project::root()).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_named_one_by_one_or_all_at_once() {
        assert_eq!(kernels("6.1"), Ok(Kernels(vec![Kernel::V6_1])));
        assert_eq!(kernels("newest,6.1"), Ok(Kernels(vec![Kernel::Newest, Kernel::V6_1])));
        assert_eq!(kernels("all"), kernels("6.1,6.12,newest"));
        assert!(kernels("6.2").is_err());
        assert!(kernels("6.1,all").is_err());
    }
}
