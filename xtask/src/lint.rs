//! `cargo xtask lint`: all that can be said about the code without running it.

use std::env;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Error, Result};

use crate::process::{self, succeeds};
use crate::project::{self, cargo};
use crate::setup::{self, DEBIAN_CLIPPY, Need};
use crate::toolchain::{self, Compiler, Toolchain};

/// A check, by name.
type Check = (&'static str, fn() -> Result<()>);

const CHECKS: [Check; 6] = [
    ("formatting", formatting),
    ("clippy", clippy),
    ("clippy of the eBPF programs", clippy_ebpf),
    ("documentation", documentation),
    ("licences, bans and sources of dependencies", dependencies),
    ("advisories about dependencies", advisories),
];

/// Runs every check, and fails if one does.
pub fn run() -> Result<ExitCode> {
    setup::ensure(&[Need::Compiler, Need::Lint])?;
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        println!("── {name}");
        if let Err(error) = check() {
            eprintln!("lint: {name}: {error:#}");
            failed.push(name);
        }
    }
    if failed.is_empty() {
        println!("lint: all checks passed");
        return Ok(ExitCode::SUCCESS);
    }
    println!("lint: failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn formatting() -> Result<()> {
    process::run(cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    process::run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"]))
}

/// The programs for their own target, where most of their code is seen at all.
fn clippy_ebpf() -> Result<()> {
    let found = Toolchain::detect().map_err(Error::msg)?;
    let xtask = env::current_exe().context("cannot tell where xtask was built")?;
    let target_dir = toolchain::target_dir(&xtask).context("xtask lies in no target directory")?.join("ebpf");
    let cargo = |subcommand| found.cargo(subcommand, env::consts::ARCH, &target_dir);
    match found.compiler {
        Compiler::Nightly => {
            process::run(cargo("clippy").current_dir(project::root()).args(["--", "-Dwarnings"]))
        }
        // What `cargo clippy` does, for a clippy that is no rustup component.
        Compiler::Debian => {
            let mut check = cargo("check");
            check.current_dir(project::root()).env("RUSTC_WORKSPACE_WRAPPER", DEBIAN_CLIPPY);
            process::run(check.env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__"))
        }
    }
}

fn documentation() -> Result<()> {
    let mut doc = cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
    process::run(doc.env("RUSTDOCFLAGS", "-Dwarnings"))
}

fn dependencies() -> Result<()> {
    process::run(cargo_deny()?.args(["check", "bans", "licenses", "sources"]))
}

/// Needs the advisory database, which is fetched by git: without a network this check is left out, and says so.
fn advisories() -> Result<()> {
    if !succeeds(cargo_deny()?.args(["fetch", "db"])) {
        println!("not checked: the advisory database cannot be fetched from here");
        return Ok(());
    }
    process::run(cargo_deny()?.args(["check", "advisories"]))
}

fn cargo_deny() -> Result<Command> {
    let mut command = Command::new(setup::cargo_deny().context("cargo-deny is not installed")?);
    command.current_dir(project::root());
    Ok(command)
}
