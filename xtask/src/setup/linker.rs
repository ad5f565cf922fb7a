//! Builds bpf-linker against the very LLVM that the eBPF compiler uses: other versions cannot read its bitcode.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result};

use super::plan::BPF_LINKER_VERSION;
use crate::process::{output, run_quietly};
use crate::project;
use crate::toolchain::{Compiler, DEBIAN_RUSTC};

/// Builds and installs the linker for `compiler`.
pub fn install(compiler: Compiler) -> Result<()> {
    let llvm = llvm_major(&output(rustc(compiler).arg("-vV"))?)?;
    let library = llvm_library(compiler, llvm)?;
    let root = compiler.linker_root();
    let prefix = offer_library(&library, &root.join("llvm"))?;

    let features = format!("--features=llvm-{llvm}");
    let install = ["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked", "--force"];
    let cargo = &mut project::cargo();
    cargo.args(install).args(["--no-default-features", &features, "--root"]).arg(&root);
    run_quietly(cargo.env("LLVM_PREFIX", prefix))
}

fn rustc(compiler: Compiler) -> Command {
    match compiler {
        Compiler::Debian => Command::new(DEBIAN_RUSTC),
        Compiler::Nightly => {
            let mut rustup = Command::new("rustup");
            rustup.args(["run", "nightly", "rustc"]);
            rustup
        }
    }
}

fn llvm_major(version: &str) -> Result<u32> {
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let major = llvm.and_then(|llvm| llvm.split('.').next()).and_then(|major| major.parse().ok());
    major.with_context(|| format!("`rustc -vV` names no LLVM version:\n{version}"))
}

/// The compiler's shared LLVM: `libLLVM.so.22.1`, or rustup's `libLLVM.so.22.1-rust-1.97.0-nightly`.
fn llvm_library(compiler: Compiler, llvm: u32) -> Result<PathBuf> {
    let lib = compiler.sysroot().context("the compiler names no sysroot")?.join("lib");
    let dirs = [lib.join(format!("{}-linux-gnu", env::consts::ARCH)), lib];
    let prefix = format!("libLLVM.so.{llvm}.");
    let files = dirs.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    let library = files
        .map(|file| file.path())
        .find(|path| file_name(path).is_some_and(|name| name.starts_with(&prefix)));
    library.with_context(|| format!("no {prefix}* in {} or {}", dirs[0].display(), dirs[1].display()))
}

/// A folder as bpf-linker's build wants it: `lib/libLLVM.so`, and the library under its own name to start with.
fn offer_library(library: &Path, prefix: &Path) -> Result<PathBuf> {
    let lib = prefix.join("lib");
    let _ = fs::remove_dir_all(&lib);
    let own_name = file_name(library).context("a library without a name")?;
    fs::create_dir_all(&lib)
        .and_then(|()| symlink(library, lib.join("libLLVM.so")))
        .and_then(|()| symlink(library, lib.join(own_name)))
        .with_context(|| format!("cannot fill {}", lib.display()))?;
    Ok(prefix.to_owned())
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_of_llvm_is_read() {
        assert_eq!(llvm_major("release: 1.96.0\nLLVM version: 22.1.8\n").unwrap(), 22);
        assert!(llvm_major("release: 1.96.0\n").unwrap_err().to_string().contains("no LLVM version"));
    }
}
