//! Step 6: what the clamp is for.

use anyhow::Result;
use l2xdp_tests::counters;
use l2xdp_tests::daemon::Gateways;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::{Attach, Side, Wire};

use super::counters::carried;
use super::mss;
use super::report::Step;
use super::transfer::{Both, captured, facts, rate, transfer};

const SECONDS: u32 = 3;

/// The transfer again with the clamp off: full segments do not fit the pseudowire, and nothing tells the sender so. A
/// port leaves them to the slow path, which takes its time; a bridge drops them before.
pub fn show(lab: &Lab, gateways: &Gateways, wire: &Wire, clamped: &Both, step: &mut Step<'_>) -> Result<()> {
    let (unclamped, captures) = captured(lab, || transfer(lab, Side::One, SECONDS))?;
    mss::show(wire, &captures, step)?;
    let (with, without) = (clamped.forth, unclamped);
    let slower = if wire.attach == Attach::Netdev { 100.0 } else { 2.0 };
    step.check(
        without.bytes_per_second * slower < with.bytes_per_second,
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
    tell_what_became_of_them(lab, gateways, wire, step)
}

fn tell_what_became_of_them(lab: &Lab, gateways: &Gateways, wire: &Wire, step: &mut Step<'_>) -> Result<()> {
    let shown = gateways.daemon(Side::One).show_json(lab.gateway(Side::One))?;
    let reasons = counters::all(&shown["reasons"]);
    let reason = |name| reasons.get(name).copied().unwrap_or_default();
    let (too_big, full) = (reason("too_big"), reason("slow_full"));
    let sent = carried(&shown, Side::One, "slow")?.sent;
    let others = if wire.attach == Attach::Netdev { "; the bridge drops the others, uncounted" } else { "" };
    step.say(&format!(
        "at tun01 the slow path sent {sent} frames in two pieces each, and had no room for {full}{others}"
    ));
    if wire.attach == Attach::Port {
        step.check(sent > 0, &format!("too big, as counted by l2xdp at tun01: {too_big}"));
    }
    step.fact("too_big", too_big);
    step.fact("slow_path_sent", sent);
    step.fact("slow_path_full", full);
    Ok(())
}
