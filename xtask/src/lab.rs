//! The lab: two gateways with l2xdp between two hosts, all in network namespaces.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;

/// Which interface of a gateway the pseudowire is attached to.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Attach {
    /// A virtual interface of its own.
    Netdev,
    /// A port of the gateway, whole.
    Port,
}

/// What `cargo xtask run` asks of the lab.
#[derive(Debug)]
pub struct Args {
    /// The loader to run at both gateways.
    pub loader: PathBuf,
    /// Leave the lab standing.
    pub keep: bool,
    /// How the pseudowire is attached.
    pub attach: Attach,
    /// Report in JSON.
    pub json: bool,
}

/// Builds the lab, shows traffic through it and takes it down again.
pub fn run(args: &Args) -> Result<()> {
    bail!("the lab is not written yet (asked for: {args:?})")
}
