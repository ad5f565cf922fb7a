//! The `l2xdp` command.

use anyhow::Result;
use clap::{Parser, Subcommand};
use l2xdp::config::{self, Config};
use l2xdp::control::{self, Answer, Question};
use l2xdp::gateway::{Options, Source};
use l2xdp::{daemon, doctor, import, sys};
use l2xdp_common::pseudowire::Mss;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// L2TPv3 Ethernet pseudowires in XDP and TC.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Work in this network namespace (ip netns).
    #[arg(long, global = true, value_name = "NAME")]
    netns: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a configuration in the foreground, until SIGTERM or SIGINT; at SIGHUP read it anew.
    Run {
        /// The configuration: see docs/configuration.md.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        options: Options,
    },
    /// Put the kernel's own tunnels and sessions on the fast path, in the foreground, until SIGTERM, SIGINT or detach.
    ///
    /// Whoever made them goes on to manage them: what appears is taken up, what vanishes is let go.
    Accelerate {
        /// Only this tunnel's sessions; may be given several times.
        #[arg(long = "tunnel", value_name = "ID", conflicts_with = "all")]
        tunnels: Vec<u32>,
        /// All tunnels' sessions, which is the default.
        #[arg(long)]
        all: bool,
        /// The device that messages come in on, if it is not the one that the route to the peer leads to; may be given
        /// several times.
        #[arg(long, value_name = "DEV")]
        wan: Vec<String>,
        /// The MSS that TCP connections are held to: off, auto (what fits through the path), or bytes.
        #[arg(long, default_value = "auto", value_parser = config::parse_mss)]
        mss: Mss,
        #[command(flatten)]
        options: Options,
    },
    /// Give the kernel's sessions back to the kernel's path, and end the l2xdp that runs in this network namespace.
    Detach,
    /// Write a configuration of the kernel's tunnels and sessions, cookies included.
    Import {
        /// Only this tunnel; may be given several times.
        #[arg(long = "tunnel", value_name = "ID")]
        tunnels: Vec<u32>,
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
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("l2xdp: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    if let Some(name) = &cli.netns {
        sys::enter_netns(name)?;
    }
    match cli.command {
        Command::Run { config: file, options } => {
            let config = Config::load(&file)?;
            block_on(daemon::run(Source::File(config), Some(file), options))
        }
        Command::Accelerate { tunnels, all: _, wan, mss, options } => {
            let source = Source::Kernel { tunnels: tunnels.into_iter().collect(), wan, mss };
            block_on(daemon::run(source, None, options))
        }
        Command::Detach => {
            if let Answer::Detached(done) = control::ask(Question::Detach)? {
                println!("{done}");
            }
            Ok(())
        }
        Command::Import { tunnels } => block_on(import::run(&tunnels.into_iter().collect())),
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
            let Answer::Status(status) = control::ask(Question::Show)? else { return Ok(()) };
            let text = if json { serde_json::to_string_pretty(&status)? + "\n" } else { status.to_string() };
            match io::stdout().write_all(text.as_bytes()) {
                // The reader has seen enough: l2xdp show | head.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                result => Ok(result?),
            }
        }
    }
}

/// One thread: the work is the kernel's.
fn block_on(future: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
