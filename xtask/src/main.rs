//! `cargo xtask`: l2xdp's development commands.

mod bench;
mod lab;
mod lint;
mod process;
mod project;
mod run;
mod setup;
mod test;
#[path = "../../l2xdp/build/toolchain.rs"]
mod toolchain;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// l2xdp's development commands. Each installs what it needs first; `setup` installs everything.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing here: the eBPF compiler, and the tools of the lab, the VM and the lints.
    Setup(setup::Args),
    /// Build l2xdp and show it at work in a lab of network namespaces, or run it with arguments of your own.
    Run(run::Args),
    /// Build everything and run all tests, under other kernels too.
    Test(test::Args),
    /// Measure what the fast path costs.
    Bench(bench::Args),
    /// Check formatting, lints, documentation, and the licences and sources of dependencies.
    Lint,
    /// Run a command under another kernel, in QEMU.
    Vm(vm::Args),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup(args) => setup::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Lint => lint::run(),
        Command::Vm(args) => vm::run(&args),
    }
}
