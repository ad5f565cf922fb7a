//! Takes the steps of a plan, one line of progress each.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::linker;
use super::plan::{NIGHTLY, Step};
use super::probe::{Apt, State};
use crate::process::{run_quietly, shown};
use crate::project;
use crate::toolchain::cache_dir;

/// Takes all steps; the first that fails ends it.
pub fn execute(state: &State, steps: &[Step]) -> Result<()> {
    for (number, step) in steps.iter().enumerate() {
        eprint!("setup {}/{}: {} … ", number + 1, steps.len(), name(step));
        let start = Instant::now();
        let result = take(state, step);
        eprintln!(
            "{} {:.1} s",
            if result.is_ok() { "done," } else { "failed," },
            start.elapsed().as_secs_f32()
        );
        result.with_context(|| format!("cannot install {}", name(step)))?;
    }
    Ok(())
}

fn name(step: &Step) -> String {
    match step {
        Step::Packages(packages) => packages.join(" "),
        Step::Nightly => "rustup's nightly".to_owned(),
        Step::Linker(_) => "bpf-linker (about a minute)".to_owned(),
        Step::Component(name) => (*name).to_owned(),
        Step::CargoDeny => "cargo-deny (some minutes)".to_owned(),
    }
}

fn take(state: &State, step: &Step) -> Result<()> {
    match step {
        Step::Packages(packages) => install_packages(*state.apt, packages),
        Step::Nightly => run_quietly(Command::new("rustup").args(NIGHTLY)),
        Step::Linker(compiler) => linker::install(*compiler),
        Step::Component(name) => run_quietly(Command::new("rustup").args(["component", "add", name])),
        Step::CargoDeny => {
            let install = ["install", "cargo-deny", "--locked", "--root"];
            run_quietly(project::cargo().args(install).arg(cache_dir().join("tools")))
        }
    }
}

fn install_packages(apt: Apt, packages: &[&str]) -> Result<()> {
    // Lists that are stale or half refreshed may still do; if they don't, the installation says so.
    if let Err(error) = run_quietly(apt_get(apt).args(["update", "-qq"])) {
        eprintln!("({error:#}; going on) ");
    }
    let mut install = apt_get(apt);
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    run_quietly(&mut install).with_context(|| format!("to see why: {}", shown(&install)))
}

/// apt-get that asks nothing (tshark and iperf3 would), and waits for whoever else installs something.
fn apt_get(apt: Apt) -> Command {
    let mut command = Command::new(if apt == Apt::Sudo { "sudo" } else { "env" });
    if apt == Apt::Sudo {
        command.args(["-n", "env"]);
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"]);
    command
}
