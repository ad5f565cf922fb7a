//! Finds what can compile the eBPF programs here, and says how to call it.
//!
//! Shared by `build.rs`, which builds with it, and by `cargo xtask`, which installs what is missing and lints.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The distribution's own compiler. Debian ships it with a ready-made `core` for BPF.
pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

const DEBIAN_BPF_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";

/// Crates that use `#![feature(asm_experimental_arch)]`: inline assembly for BPF is not stable yet.
const UNSTABLE_CRATES: &str = "aya_ebpf,l2xdp_ebpf";

/// Settings of the surrounding build that must not reach the build of the eBPF programs.
const FOREIGN_SETTINGS: [&str; 8] = [
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// A compiler that has `core` for BPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// rustup's nightly with the rust-src component, which builds `core` itself.
    Nightly,
    /// Debian's `rustc-web` with `libstd-rust-web-dev-bpf`.
    Debian,
}

impl Compiler {
    /// Every compiler, the preferred one first.
    pub const ALL: [Self; 2] = [Self::Nightly, Self::Debian];

    /// Whether this compiler and its `core` are installed.
    pub fn is_installed(self) -> bool {
        match self {
            Self::Nightly => {
                self.sysroot().is_some_and(|root| root.join("lib/rustlib/src/rust/library/core").is_dir())
            }
            Self::Debian => Path::new(DEBIAN_RUSTC).exists() && contains(DEBIAN_BPF_CORE, "libcore-"),
        }
    }

    /// Where the compiler lives, if it is there at all.
    pub fn sysroot(self) -> Option<PathBuf> {
        match self {
            Self::Nightly => {
                output(Command::new("rustup").args(["run", "nightly", "rustc", "--print=sysroot"]))
                    .map(PathBuf::from)
            }
            Self::Debian => Some(PathBuf::from("/usr")),
        }
    }

    /// A bpf-linker that starts: the one `cargo xtask setup` built for this compiler's LLVM, or the one on PATH.
    pub fn linker(self) -> Option<PathBuf> {
        [self.linker_root().join("bin/bpf-linker"), PathBuf::from("bpf-linker")]
            .into_iter()
            .find(|linker| output(Command::new(linker).arg("--version")).is_some())
    }

    /// Where `cargo xtask setup` installs the bpf-linker for this compiler.
    pub fn linker_root(self) -> PathBuf {
        match self {
            Self::Nightly => cache_dir().join("tools-nightly"),
            Self::Debian => cache_dir().join("tools"),
        }
    }
}

/// A compiler and a linker that fit each other.
#[derive(Debug)]
pub struct Toolchain {
    /// Builds the programs.
    pub compiler: Compiler,
    /// Links them, and writes their BTF.
    pub linker: PathBuf,
}

impl Toolchain {
    /// The first compiler that is complete, or what is missing of each.
    pub fn detect() -> Result<Self, String> {
        let mut missing =
            String::from("nothing here can compile the eBPF programs; `cargo xtask setup` mends it:");
        for compiler in Compiler::ALL {
            let installed = compiler.is_installed();
            match compiler.linker() {
                Some(linker) if installed => return Ok(Self { compiler, linker }),
                linker => missing += &describe_missing(compiler, installed, linker.is_some()),
            }
        }
        Err(missing)
    }

    /// `cargo <subcommand>` on the eBPF crate, for packets and maps of the architecture `arch`
    /// (as in `CARGO_CFG_TARGET_ARCH`), with its own target directory.
    pub fn cargo(&self, subcommand: &str, arch: &str, target_dir: &Path) -> Command {
        let mut cargo = match self.compiler {
            Compiler::Nightly => {
                let mut rustup = Command::new("rustup");
                rustup.args(["run", "nightly", "cargo", subcommand, "-Zbuild-std=core"]);
                rustup
            }
            Compiler::Debian => {
                let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
                cargo.arg(subcommand);
                cargo
            }
        };
        for setting in FOREIGN_SETTINGS {
            cargo.env_remove(setting);
        }
        if self.compiler == Compiler::Debian {
            cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", UNSTABLE_CRATES);
        }
        cargo
            .args(["--package=l2xdp-ebpf", "--release", "--target=bpfel-unknown-none", "--target-dir"])
            .arg(target_dir)
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags(arch));
        cargo
    }
}

/// Where the project keeps tools and downloads between builds.
pub fn cache_dir() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    cache.unwrap_or_else(|| env::home_dir().unwrap_or_default().join(".cache")).join("l2xdp")
}

/// The target directory that a built file lies in. Cargo marks it with a CACHEDIR.TAG, the only part of its layout
/// that is documented.
pub fn target_dir(built: &Path) -> Option<&Path> {
    built.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists())
}

fn rustflags(arch: &str) -> String {
    [
        // Packet fields have alignment 1; without this flag each is read byte by byte, in three times the code.
        // Jumps that compare 32 bits (Linux 5.1). Without them most branches take five instructions and the rest of a
        // register, and the verifier has eight times as much to look at.
        "-Ctarget-cpu=v3",
        "-Ctarget-feature=+alu32,+allows-misaligned-mem-access",
        // BTF is made from the debug info; the loader and the verifier's messages need it.
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        &format!("--cfg=bpf_target_arch=\"{arch}\""),
    ]
    .join("\u{1f}")
}

fn describe_missing(compiler: Compiler, installed: bool, linker: bool) -> String {
    let name = match compiler {
        Compiler::Nightly => "rustup's nightly with rust-src",
        Compiler::Debian => "Debian's rustc-web with libstd-rust-web-dev-bpf",
    };
    let compiler = if installed { "installed" } else { "not installed" };
    let linker = if linker { "works" } else { "missing or broken" };
    format!("\n  {name}: {compiler}, bpf-linker for it: {linker}")
}

/// What a command prints, if it can be run and succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn contains(dir: &str, prefix: &str) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
}
