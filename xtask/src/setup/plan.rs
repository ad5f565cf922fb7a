//! From what is missing to the steps that mend it. Pure: nothing here looks at the machine or changes it.

use std::collections::BTreeSet;

use super::Need;
use super::probe::{Apt, LintTool, State};
use super::tools::{COMPILER_CLIPPY_PACKAGE, COMPILER_PACKAGES};
use crate::toolchain::Compiler;

/// The bpf-linker that is built. It follows the LLVM of the compiler, by a feature of its own.
pub const BPF_LINKER_VERSION: &str = "0.13.0";

/// One thing to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Debian packages.
    Packages(Vec<&'static str>),
    /// rustup's nightly with what BPF needs.
    Nightly,
    /// bpf-linker, against the LLVM of this compiler.
    Linker(Compiler),
    /// A component of the toolchain in use.
    Component(&'static str),
    /// cargo-deny.
    CargoDeny,
}

/// The steps that give this machine what `needs` ask for, in the order to take them.
pub fn plan(state: &State, needs: &[Need]) -> Vec<Step> {
    let mut packages: BTreeSet<&str> = state.missing_tools.iter().map(|tool| tool.package).collect();
    let mut steps = Vec::new();
    if needs.contains(&Need::Compiler) || needs.contains(&Need::Lint) {
        plan_compiler(state, needs.contains(&Need::Lint), &mut packages, &mut steps);
    }
    steps.extend(state.missing_lints.iter().map(|tool| match tool {
        LintTool::Clippy => Step::Component("clippy"),
        LintTool::Rustfmt => Step::Component("rustfmt"),
        LintTool::CargoDeny => Step::CargoDeny,
    }));
    if !packages.is_empty() {
        steps.insert(0, Step::Packages(packages.into_iter().collect()));
    }
    steps
}

fn plan_compiler(
    state: &State,
    with_clippy: bool,
    packages: &mut BTreeSet<&'static str>,
    steps: &mut Vec<Step>,
) {
    let compiler = choose_compiler(state);
    let found = match compiler {
        Compiler::Nightly => state.nightly,
        Compiler::Debian => state.debian,
    };
    let lacks_clippy = with_clippy && !found.clippy;
    match compiler {
        Compiler::Nightly if !found.installed || lacks_clippy => steps.push(Step::Nightly),
        Compiler::Nightly => {}
        Compiler::Debian => {
            if !found.installed {
                packages.extend(COMPILER_PACKAGES);
            }
            if lacks_clippy {
                packages.insert(COMPILER_CLIPPY_PACKAGE);
            }
        }
    }
    if !found.linker {
        steps.push(Step::Linker(compiler));
    }
}

/// The compiler that is complete, else the one that takes least: half there, then the distribution's, then rustup's.
fn choose_compiler(state: &State) -> Compiler {
    let candidates = [(Compiler::Nightly, state.nightly), (Compiler::Debian, state.debian)];
    let first = |wanted: fn(&super::probe::CompilerState) -> bool| {
        candidates.iter().find(|(_, found)| wanted(found)).map(|(compiler, _)| *compiler)
    };
    if let Some(compiler) = first(|found| found.is_complete()).or_else(|| first(|found| found.installed)) {
        return compiler;
    }
    let can_install = matches!(*state.apt, Apt::Root | Apt::Sudo);
    if state.offers_rustc_web && (can_install || !state.rustup) {
        Compiler::Debian
    } else {
        Compiler::Nightly
    }
}

/// Why these steps cannot be taken here, if they cannot.
pub fn obstacle(state: &State, steps: &[Step]) -> Option<&'static str> {
    let needs_apt = steps.iter().any(|step| matches!(step, Step::Packages(_)));
    let needs_rustup = steps.iter().any(|step| matches!(step, Step::Nightly | Step::Component(_)));
    if needs_apt && *state.apt == Apt::Absent {
        Some(
            "this is no Debian or Ubuntu: install with its own package manager what has the programs named below",
        )
    } else if needs_apt && *state.apt == Apt::Forbidden {
        Some(
            "installing packages needs root, and sudo asks for a password here: run the lines below yourself",
        )
    } else if needs_rustup && !state.rustup {
        Some("this needs rustup, which is not installed here: install it, then call this again")
    } else {
        None
    }
}

/// The steps as lines of a shell, one each.
pub fn listed(state: &State, steps: &[Step]) -> String {
    steps.iter().map(|step| format!("  {}", step.command_line(state))).collect::<Vec<_>>().join("\n")
}

impl Step {
    /// What one would type to take this step by hand.
    fn command_line(&self, state: &State) -> String {
        match self {
            Self::Packages(packages) if *state.apt == Apt::Absent => {
                let programs: Vec<_> = state.missing_tools.iter().map(|tool| tool.program).collect();
                format!("programs {} (in Debian's packages {})", programs.join(", "), packages.join(", "))
            }
            Self::Packages(packages) => {
                let sudo = if *state.apt == Apt::Root { "" } else { "sudo " };
                format!("{sudo}apt-get install --no-install-recommends {}", packages.join(" "))
            }
            Self::Nightly => format!("rustup {}", NIGHTLY.join(" ")),
            Self::Linker(compiler) => {
                let llvm = match compiler {
                    Compiler::Nightly => "rustup's nightly",
                    Compiler::Debian => "Debian's rustc",
                };
                format!("cargo install bpf-linker --version {BPF_LINKER_VERSION}, against the LLVM of {llvm}")
            }
            Self::Component(name) => format!("rustup component add {name}"),
            Self::CargoDeny => "cargo install cargo-deny".to_owned(),
        }
    }
}

/// rustup's arguments for the nightly that builds eBPF.
pub const NIGHTLY: [&str; 6] =
    ["toolchain", "install", "nightly", "--profile=minimal", "--component=rust-src", "--component=clippy"];

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
