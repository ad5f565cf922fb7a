//! Step 6: what the clamp is for.

use anyhow::Result;
use l2xdp_tests::counters;
use l2xdp_tests::daemon::Gateways;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::{Attach, Side, Wire};

use super::mss;
use super::report::Step;
use super::transfer::{Both, captured, facts, rate, transfer};

const SECONDS: u32 = 3;

/// The transfer again with the clamp off. It has to crawl: full segments do not fit the pseudowire,
/// and nothing tells the sender so.
pub fn show(lab: &Lab, gateways: &Gateways, wire: &Wire, clamped: &Both, step: &mut Step<'_>) -> Result<()> {
    let (unclamped, captures) = captured(lab, || transfer(lab, Side::One, SECONDS))?;
    mss::show(wire, &captures, step)?;
    let (with, without) = (clamped.forth, unclamped);
    step.check(
        without.bytes_per_second * 100.0 < with.bytes_per_second,
        &format!(
            "host01 → host02: {} in {SECONDS} s, {} segments sent again; with the clamp {}",
            rate(without),
            without.retransmits,
            rate(with)
        ),
    );
    step.fact("host01_to_host02", facts(without));
    step.say(&format!(
        "segments of 1460 bytes make IP packets of 1500 bytes; {} fit the pseudowire, and no router stands\n\
         between the hosts to say “packet too big”: path MTU discovery has nothing to go by",
        wire.mss_that_fits() + 40
    ));

    let shown = gateways.daemon(Side::One).show_json(lab.gateway(Side::One))?;
    let too_big = counters::all(&shown).get("too_big").copied().unwrap_or_default();
    let others = if wire.attach == Attach::Netdev { "; the bridge drops the others, uncounted" } else { "" };
    step.say(&format!("too big, as counted by l2xdp at tun01: {too_big}{others}"));
    step.fact("too_big", too_big);
    Ok(())
}
