//! Step 5: what the gateways counted.

use anyhow::{Context as _, Result};
use l2xdp_tests::counters::{self, Counters};
use l2xdp_tests::daemon::Gateways;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::Side;

use super::report::Step;

/// The sessions' errors, and the reasons for which frames are lost.
const LOSSES: [&str; 7] = ["tx_errors", "rx_errors", "cookie", "short", "too_big", "no_route", "room"];

/// What both gateways had counted before anything was shown: frames may be lost until they are ready.
pub struct Baseline([Counters; 2]);

impl Baseline {
    /// As of now.
    pub fn take(lab: &Lab, gateways: &Gateways) -> Result<Self> {
        let [one, two] = Side::BOTH.map(|side| gateways.daemon(side).show_json(lab.gateway(side)));
        Ok(Self([counters::all(&one?), counters::all(&two?)]))
    }
}

/// `l2xdp show` at both gateways: traffic both ways, and nothing lost since the baseline.
pub fn show(lab: &Lab, gateways: &Gateways, baseline: &Baseline, step: &mut Step<'_>) -> Result<()> {
    for (side, before) in Side::BOTH.into_iter().zip(&baseline.0) {
        let gateway = lab.gateway(side);
        let daemon = gateways.daemon(side);
        step.say(&format!("{}:", gateway.name()));
        step.say(&daemon.show(gateway)?);

        let shown = daemon.show_json(gateway)?;
        let session = counters::of_session(&shown, side.session_id());
        let session = session.with_context(|| format!("session {} is not in {shown}", side.session_id()))?;
        let [sent, received] = ["tx_packets", "rx_packets"].map(|name| session.get(name).copied());
        let (sent, received) = (sent.unwrap_or_default(), received.unwrap_or_default());
        step.check(sent > 0 && received > 0, &format!("{sent} packets sent, {received} received"));

        let lost = grown(before, &counters::all(&shown), &LOSSES);
        step.check(lost.is_empty(), &format!("errors and losses: {}", listed(&lost)));
        step.fact(gateway.name(), shown);
    }
    Ok(())
}

/// Those of the named counters that moved, and how far.
fn grown(before: &Counters, after: &Counters, names: &[&'static str]) -> Vec<(&'static str, u64)> {
    let count = |counters: &Counters, name: &str| counters.get(name).copied().unwrap_or_default();
    let moved = names.iter().map(|name| (*name, count(after, name).saturating_sub(count(before, name))));
    moved.filter(|(_, count)| *count > 0).collect()
}

fn listed(lost: &[(&str, u64)]) -> String {
    let all: Vec<_> = lost.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}
