//! What a process must be allowed to do to run l2xdp.

use anyhow::{Context, Result, bail};
use std::fs;

/// Of `linux/capability.h`. `CAP_SYS_ADMIN` contains what `CAP_BPF` and `CAP_PERFMON` allow.
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// Names the capability that is missing, before the kernel says just "operation not permitted".
///
/// # Errors
/// The capability, and the mend.
pub fn check() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .context("/proc/self/status: no CapEff")?;
    let has = |bit: u32| effective >> bit & 1 == 1;
    for (name, there) in [
        ("CAP_NET_ADMIN", has(NET_ADMIN)),
        ("CAP_NET_RAW", has(NET_RAW)),
        ("CAP_BPF", has(BPF) || has(SYS_ADMIN)),
        ("CAP_PERFMON", has(PERFMON) || has(SYS_ADMIN)),
    ] {
        if !there {
            bail!("{name} is missing: run l2xdp as root (sudo l2xdp …), or give it this capability");
        }
    }
    Ok(())
}
