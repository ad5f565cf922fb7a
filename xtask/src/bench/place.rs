//! Where a bench runs: here, or under a kernel in a guest whose clock counts instructions.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::report::Report;
use super::setting::Setting;
use crate::process;
use crate::setup::{self, Need};
use crate::vm::{Guest, Kernel, Options};

/// Where a bench runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    Host,
    /// In the VM.
    Guest(Kernel),
}

/// What `--kernel` means.
pub fn parse(name: &str) -> Result<Place, String> {
    use clap::ValueEnum as _;
    if name == "host" { Ok(Place::Host) } else { Kernel::from_str(name, false).map(Place::Guest) }
}

/// Emulated, and on a machine that has other things to do.
const GUEST_SECONDS: u32 = 3600;

/// While the guest's CPU is idle its clock leaps from timer to timer, and whoever waits for the machine's files is too late:
/// so it never is. And what was put off is done as soon as it can be: a veth's queue is shorter than a turn of the generator.
const STEADY: &str = "chrt --idle 0 sh -c 'while :; do :; done' & chrt --fifo --pid 1 $(pgrep ksoftirqd/0)";

/// Has this program do the same in a guest, where a nanosecond is an instruction.
pub fn in_guest(kernel: Kernel, bench: &str, setting: &Setting) -> Result<Report> {
    setup::ensure(&[Need::Vm])?;
    let mut inside = Command::new(std::env::current_exe()?);
    inside.args(["bench", bench, "--rounds", &setting.rounds.to_string(), "--inside", "--loader"]);
    inside.arg(&setting.loader);
    let options = Options { icount: true, timeout: GUEST_SECONDS, ..Options::default() };
    let guest = Guest::new(kernel, &options)?;
    let script = format!("{STEADY}\n{}", process::shown(&inside));
    let mut running = guest.boot(&script, Stdio::piped())?;
    let said = std::io::read_to_string(running.stdout().context("the guest has no output")?)?;
    let outcome = running.wait()?;
    ensure!(outcome.status() == 0, "{said}{}", guest.epitaph(&outcome));
    guest.report_results();
    let measured = said.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(measured.with_context(|| format!("the guest measured nothing: {said}"))?)
        .context("the guest printed no JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_runs_here_or_under_a_kernel() {
        assert_eq!(parse("host"), Ok(Place::Host));
        assert_eq!(parse("6.1"), Ok(Place::Guest(Kernel::V6_1)));
        assert!(parse("2.4").is_err());
    }
}
