//! `cargo xtask test`: every layer of tests, and one table of what came of them.

mod report;
mod run;
mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use crate::project::{self, Artifact};
use crate::setup::{self, Need};
use crate::vm::Kernel;
use report::Report;
use run::Plan;

/// The options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Kernels to boot for the tests that ask one, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "6.1")]
    kernels: Vec<Kernel>,
    /// Run only the tests whose names contain this.
    filter: Option<String>,
}

/// The tests that run under each kernel, seen from the workspace.
const KERNEL_TESTS: &str = "tests/tests/kernel.rs";

/// Builds and runs all tests, and prints the table; fails if any test did.
pub fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(&[Need::Compiler, Need::Lab])?;
    let plan = Plan { loader: project::build_loader()?, filter: args.filter.clone() };
    let tests = build_tests()?;

    let mut reports: Vec<_> = tests.iter().map(|test| run::on_host(&plan, test)).collect();
    reports.push(run::documentation(&plan));
    let kernel_tests = tests.iter().find(|test| source(test) == Path::new(KERNEL_TESTS));
    for &kernel in &args.kernels {
        reports.push(under_kernel(&plan, kernel, kernel_tests));
    }
    print!("{}", summary::table(&reports));
    let failed = reports.iter().any(|report| report.counts.failed > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn under_kernel(plan: &Plan, kernel: Kernel, tests: Option<&Artifact>) -> Report {
    let layer = format!("kernel {}", kernel.name());
    match tests {
        Some(tests) => run::in_vm(plan, tests, kernel, &layer),
        None => Report::broken(&layer, KERNEL_TESTS, "it was not built: the file is missing"),
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
    source(test).starts_with("tests")
}

/// A test program's main source file, seen from the workspace: the name it goes by.
fn source(test: &Artifact) -> PathBuf {
    let path = &test.target.src_path;
    path.strip_prefix(project::root()).unwrap_or(path).to_owned()
}
