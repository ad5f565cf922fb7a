//! Step 4: the MSS that each host offers, and the one that arrives.

use std::path::Path;

use anyhow::{Result, ensure};
use l2xdp_tests::topology::Lab;
use l2xdp_tests::tshark::Tshark;
use l2xdp_tests::wire::{Mss, Side, Wire};
use serde_json::json;

use super::report::Step;
use super::transfer::Captures;

/// What a host with an MTU of 1500 offers.
const OFFERED: u16 = 1460;

/// Compares SYNs and SYN-ACKs as sent and as received.
pub fn show(wire: &Wire, captures: &Captures, step: &mut Step<'_>) -> Result<()> {
    let arrives = match wire.mss {
        Mss::Auto => wire.mss_that_fits(),
        Mss::Off => OFFERED,
        Mss::Fixed(bytes) => bytes,
    };
    let tshark = Tshark::new(wire);
    let [host01, host02] = Side::BOTH.map(Lab::lan_address);
    let mut rows = Vec::new();
    for (path, title, source, sent, received) in [
        ("host01_to_host02", "host01 → host02", host01, &captures.one, &captures.two),
        ("host02_to_host01", "host02 → host01", host02, &captures.two, &captures.one),
    ] {
        for (kind, ack) in [("SYN", false), ("SYN-ACK", true)] {
            let all = |capture: &Path| the_only(tshark.mss(capture, source, ack)?);
            let Some(offered) = all(sent)? else { continue };
            let delivered = all(received)?;
            step.check(
                offered == OFFERED && delivered == Some(arrives),
                &format!("{title}, {kind}: {offered} offered, {} delivered", text(delivered)),
            );
            rows.push(json!({"path": path, "kind": kind, "offered": offered, "delivered": delivered}));
        }
    }
    ensure!(rows.len() >= 2, "SYNs in both directions were expected, not these: {rows:?}");
    step.fact("mss", rows);
    Ok(())
}

/// The value that all agree on; nothing, if there are none.
fn the_only(all: Vec<u16>) -> Result<Option<u16>> {
    let first = all.first().copied();
    ensure!(all.iter().all(|one| Some(*one) == first), "SYNs of one direction differ: {all:?}");
    Ok(first)
}

fn text(mss: Option<u16>) -> String {
    mss.map_or("nothing".to_owned(), |mss| mss.to_string())
}
