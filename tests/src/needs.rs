//! What a machine must have for the tests that talk over real devices.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use nix::unistd::Uid;

use crate::command::{self, SOON};

const PROGRAMS: [&str; 8] = ["ip", "tc", "nsenter", "ethtool", "tcpdump", "tshark", "ping", "setpriv"];

/// What this machine lacks for the lab.
pub fn missing() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("needs root, for network namespaces".to_owned());
    }
    let missing: Vec<_> = PROGRAMS.into_iter().filter(|program| !is_there(program)).collect();
    (!missing.is_empty()).then(|| format!("needs {}: cargo xtask setup", missing.join(", ")))
}

/// Whether this kernel has L2TP's Ethernet pseudowires, or could load them.
pub fn has_l2tp() -> bool {
    let modules = ["l2tp_netlink", "l2tp_eth"];
    let loaded = modules.iter().all(|module| {
        Path::new("/sys/module").join(module).exists()
            || command::run(Command::new("modprobe").args(["-q", module]), SOON).is_ok()
    });
    // Only the kernel can say that it has them built in.
    loaded || command::run(Command::new("ip").args(["l2tp", "show", "tunnel"]), SOON).is_ok()
}

/// The release build of l2xdp: L2XDP_LOADER, else where cargo puts it.
pub fn loader() -> Result<PathBuf> {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/l2xdp");
    let loader = env::var_os("L2XDP_LOADER").map_or_else(built, PathBuf::from);
    ensure!(
        loader.is_file(),
        "there is no loader at {}: cargo build --release -p l2xdp, or name it in L2XDP_LOADER",
        loader.display()
    );
    Ok(loader.canonicalize()?)
}

fn is_there(program: &str) -> bool {
    command::run(Command::new("which").arg(program), SOON).is_ok()
}
