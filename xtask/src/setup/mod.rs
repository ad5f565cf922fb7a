//! `cargo xtask setup`: installs what is missing. What it would take is decided in `plan`, without touching anything.

mod execute;
mod linker;
mod plan;
mod probe;
mod tools;

use anyhow::{Result, bail};

pub use probe::{DEBIAN_CLIPPY, cargo_deny};

use plan::Step;
use probe::State;

/// The options of `cargo xtask setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Only list the steps.
    #[arg(long)]
    dry_run: bool,
}

/// What a command needs of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A compiler for the eBPF programs.
    Compiler,
    /// What the lab and the tests in namespaces call.
    Lab,
    /// What boots other kernels.
    Vm,
    /// What the lints call.
    Lint,
}

const EVERYTHING: [Need; 4] = [Need::Compiler, Need::Lab, Need::Vm, Need::Lint];

/// Installs everything that any command needs.
pub fn run(args: &Args) -> Result<()> {
    let state = State::probe(&EVERYTHING);
    let steps = plan::plan(&state, &EVERYTHING);
    if steps.is_empty() {
        println!("setup: nothing is missing");
    } else if args.dry_run {
        println!("setup would take these steps:\n{}", plan::listed(&state, &steps));
    } else {
        take(&state, &steps)?;
    }
    Ok(())
}

/// Installs what is missing of `needs`; quick when nothing is.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let state = State::probe(needs);
    take(&state, &plan::plan(&state, needs))
}

fn take(state: &State, steps: &[Step]) -> Result<()> {
    if let Some(why) = plan::obstacle(state, steps) {
        bail!("{why}\nmissing here:\n{}", plan::listed(state, steps));
    }
    execute::execute(state, steps)
}
