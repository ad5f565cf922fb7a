//! The CPU that a measurement has to itself.

use std::io;

use anyhow::{Context as _, Result, ensure};
use nix::libc;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Keeps this thread on a CPU, and if asked to everybody else off it. What one end of a veth sends is received on the same
/// CPU: it carries the whole chain.
pub fn claim(cpu: usize, realtime: bool) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    let this_thread = Pid::from_raw(0);
    sched_setaffinity(this_thread, &cpus).with_context(|| format!("cannot stay on CPU {cpu}"))?;
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameter outlives the call.
    let refused =
        realtime && unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) } != 0;
    ensure!(!refused, "cannot keep others off CPU {cpu}: {}", io::Error::last_os_error());
    Ok(())
}
