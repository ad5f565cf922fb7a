//! Compiles the eBPF programs and leaves the object at `$OUT_DIR/l2xdp-ebpf`.
//!
//! `L2XDP_EBPF_OBJECT` names a finished object instead, for packagers who build it in a step of its own.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

#[path = "build/toolchain.rs"]
mod toolchain;

use toolchain::Toolchain;

const PREBUILT: &str = "L2XDP_EBPF_OBJECT";

/// What the programs are made of, seen from the workspace.
const SOURCES: [&str; 6] = [
    "Cargo.lock",
    "Cargo.toml",
    "l2xdp-common/Cargo.toml",
    "l2xdp-common/src",
    "l2xdp-ebpf/Cargo.toml",
    "l2xdp-ebpf/src",
];

/// Reports what went wrong as `cargo::error`, which fails the build without cargo's dump of this script's output.
fn main() {
    if let Err(why) = embed_object() {
        for line in why.lines() {
            println!("cargo::error={line}");
        }
    }
}

fn embed_object() -> Result<(), String> {
    let out_dir = required_path("OUT_DIR")?;
    let workspace = required_path("CARGO_MANIFEST_DIR")?.join("..");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed={PREBUILT}");

    let object = match env::var_os(PREBUILT) {
        Some(path) => prebuilt(path.into()),
        None => compile(&workspace, &out_dir)?,
    };
    fs::copy(&object, out_dir.join("l2xdp-ebpf"))
        .map_err(|error| format!("cannot copy the eBPF object {}: {error}", object.display()))?;
    Ok(())
}

fn prebuilt(object: PathBuf) -> PathBuf {
    println!("cargo::rerun-if-changed={}", object.display());
    object
}

fn compile(workspace: &Path, out_dir: &Path) -> Result<PathBuf, String> {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    let found = Toolchain::detect()?;
    println!("cargo::rerun-if-changed={}", found.linker.display());

    let arch =
        env::var("CARGO_CFG_TARGET_ARCH").map_err(|error| format!("CARGO_CFG_TARGET_ARCH: {error}"))?;
    // All profiles of the outer build share one eBPF build.
    let target_dir = toolchain::target_dir(out_dir).unwrap_or(out_dir).join("ebpf");
    let mut cargo = found.cargo("build", &arch, &target_dir);
    let status = cargo.current_dir(workspace).status().map_err(|error| {
        format!("cannot run {cargo:?}: {error}; `cargo xtask setup` installs what it needs")
    })?;
    if !status.success() {
        println!("cargo::error=the eBPF programs do not compile; the compiler's messages are below");
        process::exit(1);
    }
    Ok(target_dir.join("bpfel-unknown-none/release/l2xdp-ebpf"))
}

fn required_path(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{variable} is not set; cargo runs this script, and sets it"))
}
