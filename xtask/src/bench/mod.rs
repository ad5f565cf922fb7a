//! `cargo xtask bench`: what the fast path costs, against its alternatives, in one run.

mod bpf;
mod frame;
mod receive;
mod scene;
mod table;

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::setup::{self, Need};
use crate::vm::{Guest, Kernel, Options};
use crate::{process, project};

/// The options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// The ways to bring received frames into a session's device.
    Receive(Run),
}

/// Where and how often to run a bench.
#[derive(clap::Args)]
struct Run {
    /// Kernel to boot, 6.1, 6.12 or newest, where instructions are counted; or host, to take the time here.
    #[arg(long, value_parser = kernel, default_value = "6.1")]
    kernel: Place,
    /// How often every candidate is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// In the guest: use this loader, and count for as long as is good under emulation.
    #[arg(long, hide = true)]
    inside: Option<std::path::PathBuf>,
}

/// Where a bench runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Host,
    Guest(Kernel),
}

fn kernel(name: &str) -> Result<Place, String> {
    use clap::ValueEnum as _;
    if name == "host" { Ok(Place::Host) } else { Kernel::from_str(name, false).map(Place::Guest) }
}

/// Emulated, and on a machine that has other things to do.
const GUEST_SECONDS: u32 = 3600;

/// While the guest's CPU is idle its clock leaps from timer to timer, and whoever waits for the machine's files is too late:
/// so it never is. And what was put off is done as soon as it can be: a veth's queue is shorter than a turn of the generator.
const STEADY: &str = "chrt --idle 0 sh -c 'while :; do :; done' & chrt --fifo --pid 1 $(pgrep ksoftirqd/0)";

/// Runs a bench and prints its table.
pub fn run(args: &Args) -> Result<ExitCode> {
    let Bench::Receive(run) = &args.bench;
    if let Some(loader) = &run.inside {
        println!("{}", receive::run(loader, receive::COUNTED, run.rounds)?);
        return Ok(ExitCode::SUCCESS);
    }
    setup::ensure(&[Need::Compiler, Need::Lab])?;
    let loader = project::build_loader()?;
    let (unit, measured) = match run.kernel {
        Place::Host => ("ns", receive::run(&loader, receive::TIMED, run.rounds)?),
        Place::Guest(kernel) => ("instructions", in_guest(kernel, &loader, run.rounds)?),
    };
    if run.json {
        println!("{:#}", json!({"bench": "receive", "unit": unit, "measured": measured}));
    } else {
        print!("{}", table::table(unit, &measured)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Has this program do the same in a guest, where a nanosecond is an instruction.
fn in_guest(kernel: Kernel, loader: &std::path::Path, rounds: usize) -> Result<Value> {
    setup::ensure(&[Need::Vm])?;
    let mut inside = Command::new(std::env::current_exe()?);
    inside.args(["bench", "receive", "--rounds", &rounds.to_string(), "--inside"]).arg(loader);
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
        assert_eq!(kernel("host"), Ok(Place::Host));
        assert_eq!(kernel("6.1"), Ok(Place::Guest(Kernel::V6_1)));
        assert!(kernel("2.4").is_err());
    }
}
