//! What is installed here, and how more could be.

use std::cell::LazyCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Need;
use super::tools::{TOOLS, Tool};
use crate::process;
use crate::toolchain::{Compiler, cache_dir};

/// The clippy that goes with Debian's compiler.
pub const DEBIAN_CLIPPY: &str = "/usr/bin/clippy-driver";

/// All that the plan depends on.
#[derive(Debug)]
pub struct State {
    /// Programs that are needed and not found.
    pub missing_tools: Vec<&'static Tool>,
    /// rustup's nightly.
    pub nightly: CompilerState,
    /// Debian's compiler.
    pub debian: CompilerState,
    /// The lints' programs that are not found.
    pub missing_lints: Vec<LintTool>,
    /// Whether this is a Debian that has `rustc-web`.
    pub offers_rustc_web: bool,
    /// Whether rustup manages the compiler that built this.
    pub rustup: bool,
    /// How packages can be installed; asked only where some are missing.
    pub apt: LazyCell<Apt>,
}

/// How far a compiler for BPF is installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompilerState {
    /// The compiler, and `core` for BPF.
    pub installed: bool,
    /// A bpf-linker that fits it.
    pub linker: bool,
    /// Its clippy.
    pub clippy: bool,
}

impl CompilerState {
    /// Whether it can build the eBPF programs.
    pub fn is_complete(self) -> bool {
        self.installed && self.linker
    }
}

/// What the lints call, besides the clippy of the eBPF compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LintTool {
    /// `cargo clippy`.
    Clippy,
    /// `cargo fmt`.
    Rustfmt,
    /// `cargo deny`.
    CargoDeny,
}

/// How packages can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apt {
    /// There is no apt.
    Absent,
    /// There is, but it needs root, and sudo asks for a password.
    Forbidden,
    /// By sudo.
    Sudo,
    /// We are root.
    Root,
}

impl State {
    /// Looks at this machine; only at what matters to `needs`, as some looks take a tenth of a second.
    pub fn probe(needs: &[Need]) -> Self {
        let needs_lint = needs.contains(&Need::Lint);
        let compiler = |compiler| {
            let wanted = needs_lint || needs.contains(&Need::Compiler);
            if wanted { probe_compiler(compiler, needs_lint) } else { CompilerState::default() }
        };
        Self {
            missing_tools: TOOLS
                .iter()
                .filter(|tool| needs.contains(&tool.need) && !is_there(tool))
                .collect(),
            nightly: compiler(Compiler::Nightly),
            debian: compiler(Compiler::Debian),
            missing_lints: if needs_lint { missing_lints() } else { Vec::new() },
            offers_rustc_web: offers_rustc_web(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
            rustup: process::find("rustup").is_some(),
            apt: LazyCell::new(probe_apt),
        }
    }
}

/// The program `cargo deny` runs, from PATH or as `setup` installs it.
pub fn cargo_deny() -> Option<PathBuf> {
    let ours = cache_dir().join("tools/bin/cargo-deny");
    process::find("cargo-deny").or_else(|| ours.exists().then_some(ours))
}

fn probe_compiler(compiler: Compiler, with_clippy: bool) -> CompilerState {
    if !compiler.is_installed() {
        return CompilerState { linker: compiler.linker().is_some(), ..CompilerState::default() };
    }
    CompilerState {
        installed: true,
        linker: compiler.linker().is_some(),
        clippy: with_clippy
            && match compiler {
                Compiler::Nightly => {
                    process::succeeds(Command::new("rustup").args(["run", "nightly", "cargo-clippy", "-V"]))
                }
                Compiler::Debian => Path::new(DEBIAN_CLIPPY).exists(),
            },
    }
}

fn is_there(tool: &Tool) -> bool {
    process::find(tool.program).is_some_and(|file| tool.program != "busybox" || is_static(&file))
}

fn is_static(file: &Path) -> bool {
    !process::succeeds(Command::new("ldd").arg(file))
}

fn missing_lints() -> Vec<LintTool> {
    let works = |args: [&str; 2]| process::succeeds(Command::new("cargo").args(args));
    let mut missing = Vec::new();
    if !works(["clippy", "-V"]) {
        missing.push(LintTool::Clippy);
    }
    if !works(["fmt", "--version"]) {
        missing.push(LintTool::Rustfmt);
    }
    if cargo_deny().is_none() {
        missing.push(LintTool::CargoDeny);
    }
    missing
}

/// Debian 12 brings new compilers for its browsers under this name, BPF included.
fn offers_rustc_web(os_release: &str) -> bool {
    let has = |wanted: &str| os_release.lines().any(|line| line.replace('"', "") == wanted);
    has("ID=debian") && has("VERSION_ID=12")
}

fn probe_apt() -> Apt {
    if process::find("apt-get").is_none() {
        return Apt::Absent;
    }
    if process::output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0") {
        return Apt::Root;
    }
    if process::succeeds(Command::new("sudo").args(["-n", "true"])) { Apt::Sudo } else { Apt::Forbidden }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustc_web_is_offered_by_debian_12_alone() {
        assert!(offers_rustc_web("PRETTY_NAME=\"x\"\nVERSION_ID=\"12\"\nID=debian\n"));
        assert!(!offers_rustc_web("VERSION_ID=\"13\"\nID=debian\n"));
        assert!(!offers_rustc_web("VERSION_ID=\"24.04\"\nID=ubuntu\nID_LIKE=debian\n"));
        assert!(!offers_rustc_web(""));
    }
}
