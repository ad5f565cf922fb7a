//! `cargo xtask run`: the lab, or the loader with arguments of the caller's.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::setup::{self, Need};
use crate::{lab, project};

/// The options of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave the lab's namespaces standing afterwards.
    #[arg(long)]
    keep: bool,
    /// How the lab attaches the pseudowire.
    #[arg(long, value_enum, default_value_t = lab::Attach::Netdev)]
    attach: lab::Attach,
    /// Report in JSON.
    #[arg(long)]
    json: bool,
    /// Run l2xdp with these arguments, not the lab.
    #[arg(last = true, conflicts_with_all = ["keep", "attach", "json"])]
    loader_args: Vec<OsString>,
}

/// Builds the release loader and runs it, in the lab unless it is given arguments.
pub fn run(args: &Args) -> Result<ExitCode> {
    if !args.loader_args.is_empty() {
        setup::ensure(&[Need::Compiler])?;
        let loader = project::build_loader()?;
        let error = Command::new(&loader).args(&args.loader_args).exec();
        return Err(error).with_context(|| format!("cannot run {}", loader.display()));
    }
    setup::ensure(&[Need::Compiler, Need::Lab])?;
    let loader = project::build_loader()?;
    lab::run(&lab::Args { loader, keep: args.keep, attach: args.attach, json: args.json })?;
    Ok(ExitCode::SUCCESS)
}
