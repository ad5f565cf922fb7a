//! The programs that l2xdp's commands call, and the Debian packages that have them.

use super::Need;

/// A program that some command calls.
#[derive(Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name on PATH.
    pub program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// What it is needed for.
    pub need: Need,
}

/// Debian's compiler with `core` for BPF.
pub const COMPILER_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];
/// The clippy of that compiler.
pub const COMPILER_CLIPPY_PACKAGE: &str = "rust-web-clippy";

/// Every program besides the compilers.
pub const TOOLS: [Tool; 12] = [
    lab("ip", "iproute2"),
    lab("tc", "iproute2"),
    lab("ping", "iputils-ping"),
    lab("ethtool", "ethtool"),
    lab("tshark", "tshark"),
    lab("tcpdump", "tcpdump"),
    lab("iperf3", "iperf3"),
    vm("qemu-system-x86_64", "qemu-system-x86"),
    // The initramfs holds it and nothing to link it with: only the static one will do.
    vm("busybox", "busybox-static"),
    vm("depmod", "kmod"),
    vm("zstd", "zstd"),
    vm("xz", "xz-utils"),
];

const fn lab(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package, need: Need::Lab }
}

const fn vm(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package, need: Need::Vm }
}
