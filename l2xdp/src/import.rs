//! `l2xdp import`: the configuration of what the kernel runs.

use crate::config::{Config, render};
use crate::observe::{Observed, Observer};
use crate::plan::XdpMode;
use crate::{adopt, privileges};
use anyhow::{Result, bail};
use l2xdp_common::pseudowire::Mss;
use std::collections::BTreeSet;

/// Prints a configuration of the kernel's tunnels, or only of `chosen` ones. Sessions that no configuration can describe
/// are comments in it.
///
/// # Errors
/// If the kernel has no L2TP, or does not answer.
pub async fn run(chosen: &BTreeSet<u32>) -> Result<()> {
    privileges::check()?;
    let mut observer = Observer::open(true).await?;
    if observer.l2tp.is_none() {
        bail!("this kernel has no L2TP, so there is nothing to import: modprobe l2tp_eth");
    }
    let nothing = Config { tunnels: Vec::new() };
    let observed = observer.look(&nothing, XdpMode::default(), &Observed::default()).await?;
    let adopted = adopt::adopt(&observed, chosen, Mss::Auto);
    println!("# Written by l2xdp import from the kernel's tunnels and sessions.");
    for kept in &adopted.kept {
        let session = &kept.session;
        println!(
            "# Left out: session {} of tunnel {}: {}",
            session.session_id, session.tunnel_id, kept.reason
        );
    }
    println!();
    print!("{}", render(&adopted.config));
    Ok(())
}
