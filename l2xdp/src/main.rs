//! The `l2xdp` command.

use anyhow::Result;
use clap::{Parser, Subcommand};
use l2xdp::config::Config;
use l2xdp::gateway::Options;
use l2xdp::{control, daemon, doctor};
use std::path::PathBuf;
use std::process::ExitCode;

/// L2TPv3 Ethernet pseudowires in XDP and TC.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a configuration in the foreground, until SIGTERM, SIGINT or SIGHUP.
    Run {
        /// The configuration: see docs/configuration.md.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        options: Options,
    },
    /// Check a configuration, touching nothing.
    Check {
        /// The configuration.
        file: PathBuf,
    },
    /// Tell what this kernel lacks, and what a configuration would meet here; changes nothing.
    Doctor {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Show tunnels, sessions and counters of the l2xdp that runs in this network namespace.
    Show {
        /// For machines.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let filter = env_logger::Env::default().default_filter_or("info,netlink_packet_route=error");
    env_logger::Builder::from_env(filter).format_target(false).init();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("l2xdp: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Run { config, options } => {
            let config = Config::load(&config)?;
            block_on(daemon::run(config, options))
        }
        Command::Check { file } => {
            let config = Config::load(&file)?;
            let sessions: usize = config.tunnels.iter().map(|tunnel| tunnel.sessions.len()).sum();
            println!("{}: tunnels {}, sessions {sessions}", file.display(), config.tunnels.len());
            Ok(())
        }
        Command::Doctor { config } => {
            let config = config.map(|file| Config::load(&file)).transpose()?;
            block_on(doctor::run(config.as_ref()))
        }
        Command::Show { json } => {
            let status = control::ask()?;
            if json {
                println!("{}", serde_json::to_string_pretty(&status)?);
            } else {
                print!("{status}");
            }
            Ok(())
        }
    }
}

/// One thread: the work is the kernel's.
fn block_on(future: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
