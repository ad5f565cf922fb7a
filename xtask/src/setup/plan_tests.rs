use std::cell::LazyCell;

use super::super::probe::CompilerState;
use super::super::tools::{TOOLS, Tool};
use super::*;

const COMPLETE: CompilerState = CompilerState { installed: true, linker: true, clippy: true };
const NOTHING: CompilerState = CompilerState { installed: false, linker: false, clippy: false };
const ALL: [Need; 4] = [Need::Compiler, Need::Lab, Need::Vm, Need::Lint];

/// A Debian 12 with root and rustup, where nothing is missing but the eBPF compiler.
fn fresh_debian() -> State {
    State {
        missing_tools: Vec::new(),
        nightly: NOTHING,
        debian: NOTHING,
        missing_lints: Vec::new(),
        offers_rustc_web: true,
        rustup: true,
        apt: LazyCell::new(|| Apt::Root),
    }
}

fn tool(program: &str) -> &'static Tool {
    TOOLS.iter().find(|tool| tool.program == program).unwrap()
}

#[test]
fn nothing_missing_takes_no_step() {
    for (nightly, debian) in [(COMPLETE, NOTHING), (NOTHING, COMPLETE)] {
        assert_eq!(plan(&State { nightly, debian, ..fresh_debian() }, &ALL), []);
    }
}

#[test]
fn a_fresh_debian_gets_its_own_compiler_and_a_linker() {
    let steps = plan(&fresh_debian(), &[Need::Compiler]);
    let packages = Step::Packages(vec!["libstd-rust-web-dev-bpf", "rustc-web"]);
    assert_eq!(steps, [packages, Step::Linker(Compiler::Debian)]);
}

#[test]
fn other_distributions_and_users_without_root_get_nightly() {
    let nightly = [Step::Nightly, Step::Linker(Compiler::Nightly)];
    let ubuntu = State { offers_rustc_web: false, ..fresh_debian() };
    assert_eq!(plan(&ubuntu, &[Need::Compiler]), nightly);
    let no_root = State { apt: LazyCell::new(|| Apt::Forbidden), ..fresh_debian() };
    assert_eq!(plan(&no_root, &[Need::Compiler]), nightly);
    assert_eq!(obstacle(&no_root, &nightly), None);
}

#[test]
fn an_installed_compiler_only_gets_its_linker() {
    let state = State { debian: CompilerState { installed: true, ..NOTHING }, ..fresh_debian() };
    assert_eq!(plan(&state, &[Need::Compiler]), [Step::Linker(Compiler::Debian)]);
    let state = State { nightly: CompilerState { installed: true, ..NOTHING }, ..state };
    assert_eq!(plan(&state, &[Need::Compiler]), [Step::Linker(Compiler::Nightly)]);
}

#[test]
fn a_complete_compiler_beats_one_that_lacks_its_linker() {
    let nightly = CompilerState { installed: true, ..NOTHING };
    assert_eq!(plan(&State { nightly, debian: COMPLETE, ..fresh_debian() }, &[Need::Compiler]), []);
}

#[test]
fn packages_come_first_once_each_and_in_order() {
    let missing_tools = ["tshark", "tc", "ip"].map(tool).to_vec();
    let state = State { missing_tools, ..fresh_debian() };
    let expected = vec!["iproute2", "libstd-rust-web-dev-bpf", "rustc-web", "tshark"];
    assert_eq!(plan(&state, &[Need::Compiler, Need::Lab])[0], Step::Packages(expected));
}

#[test]
fn the_lints_bring_the_clippy_of_the_compiler_in_use() {
    let no_clippy = CompilerState { clippy: false, ..COMPLETE };
    let debian = State { debian: no_clippy, ..fresh_debian() };
    assert_eq!(plan(&debian, &ALL), [Step::Packages(vec!["rust-web-clippy"])]);
    let nightly = State { nightly: no_clippy, ..fresh_debian() };
    assert_eq!(plan(&nightly, &ALL), [Step::Nightly]);
    let missing_lints = vec![LintTool::Clippy, LintTool::Rustfmt, LintTool::CargoDeny];
    let state = State { debian: COMPLETE, missing_lints, ..fresh_debian() };
    assert_eq!(plan(&state, &ALL), [Step::Component("clippy"), Step::Component("rustfmt"), Step::CargoDeny]);
}

#[test]
fn who_cannot_install_is_told_what_to_run() {
    let missing_tools = vec![tool("tshark")];
    let state = State { missing_tools, apt: LazyCell::new(|| Apt::Forbidden), ..fresh_debian() };
    let steps = plan(&state, &[Need::Lab]);
    assert!(obstacle(&state, &steps).unwrap().contains("needs root"));
    assert_eq!(listed(&state, &steps), "  sudo apt-get install --no-install-recommends tshark");

    let state = State { apt: LazyCell::new(|| Apt::Absent), ..state };
    assert!(obstacle(&state, &steps).unwrap().contains("package manager"));
    assert_eq!(listed(&state, &steps), "  programs tshark (in Debian's packages tshark)");

    let state = State { rustup: false, offers_rustc_web: false, ..fresh_debian() };
    assert!(obstacle(&state, &plan(&state, &[Need::Compiler])).unwrap().contains("rustup"));
}
