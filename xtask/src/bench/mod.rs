//! `cargo xtask bench`: what the fast path costs, against its alternatives, in one run.

mod bpf;
mod burst;
mod chain;
mod chart;
mod cores;
mod cost;
mod cpu;
mod device;
mod frame;
mod latency;
mod packets;
mod place;
mod receive;
mod report;
mod scale;
mod scene;
mod setting;
mod source;
mod spread;
mod stream;
mod table;
mod tcp;
mod way;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use l2xdp_tests::interrupt;

use crate::project;
use crate::setup::{self, Need};
use crate::vm::Kernel;
use place::Place;
use report::Report;
use setting::Setting;

/// The options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// Packets per second through a chain of two gateways, or instructions per packet.
    Packets(Run),
    /// TCP from host to host, and the CPU time that it takes; or instructions per MiB.
    Tcp(Run),
    /// What is added to the time of requests and responses, idle and under load.
    Latency(Run),
    /// Many sessions: packets per second, memory, and the time to fill the maps.
    Scale(Run),
    /// Each program alone: time or instructions per packet, and its size.
    Cost(Run),
    /// One tunnel at one CPU and at two.
    Cores(Run),
    /// The ways to bring received frames into a session's device.
    Receive(Run),
}

/// Where and how often to run a bench.
#[derive(clap::Args)]
struct Run {
    /// Where: here (host), to take the time; or under a kernel in the VM (6.1, 6.12, newest), to count instructions. If not
    /// said, receive runs under 6.1, which has the driver to compare with, and all others here.
    #[arg(long, value_parser = place::parse)]
    kernel: Option<Place>,
    /// How often every candidate is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Print JSON, with the figures of every round.
    #[arg(long)]
    json: bool,
    /// Draw a chart into this file as well.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Measure this build of l2xdp, not what is built of the sources.
    #[arg(long, value_name = "FILE")]
    loader: Option<PathBuf>,
    /// In the guest: count for as long as is good under emulation, and print JSON on one line.
    #[arg(long, hide = true)]
    inside: bool,
}

/// Runs a bench and prints its table.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (bench, run) = args.bench.parts();
    let loader = run.loader()?;
    let setting = Setting { loader, rounds: run.rounds, counted: run.inside };
    if run.inside {
        println!("{}", serde_json::to_string(&bench(&setting)?)?);
        return Ok(ExitCode::SUCCESS);
    }
    let report = match run.kernel.unwrap_or(args.bench.usual_place()) {
        Place::Host => bench(&setting)?,
        Place::Guest(kernel) => place::in_guest(kernel, args.bench.name(), &setting)?,
    };
    if let Some(file) = &run.svg {
        fs::write(file, chart::chart(&report)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if run.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", table::table(&report)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures all of a bench's candidates.
type Measure = fn(&Setting) -> Result<Report>;

impl Bench {
    fn parts(&self) -> (Measure, &Run) {
        match self {
            Self::Packets(run) => (packets::run, run),
            Self::Tcp(run) => (tcp::run, run),
            Self::Latency(run) => (latency::run, run),
            Self::Scale(run) => (scale::run, run),
            Self::Cost(run) => (cost::run, run),
            Self::Cores(run) => (cores::run, run),
            Self::Receive(run) => (receive::run, run),
        }
    }

    fn usual_place(&self) -> Place {
        match self {
            Self::Receive(_) => Place::Guest(Kernel::V6_1),
            _ => Place::Host,
        }
    }

    /// Its name on the command line.
    fn name(&self) -> &'static str {
        match self {
            Self::Packets(_) => "packets",
            Self::Tcp(_) => "tcp",
            Self::Latency(_) => "latency",
            Self::Scale(_) => "scale",
            Self::Cost(_) => "cost",
            Self::Cores(_) => "cores",
            Self::Receive(_) => "receive",
        }
    }
}

impl Run {
    fn loader(&self) -> Result<PathBuf> {
        interrupt::catch()?;
        if let Some(loader) = &self.loader {
            return loader.canonicalize().with_context(|| format!("there is no {}", loader.display()));
        }
        setup::ensure(&[Need::Compiler, Need::Lab])?;
        project::build_loader()
    }
}
