//! Step 5: what the gateways counted.

use anyhow::{Context as _, Result};
use l2xdp_tests::counters::{self, Counters};
use l2xdp_tests::daemon::Gateways;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::Side;
use serde_json::Value;

use super::report::Step;

/// The sessions' errors on both paths, and the reasons for which frames are lost. What is too big, or without a route,
/// is not: the slow path carries it, or counts the error.
const LOSSES: [&str; 8] =
    ["tx_errors", "rx_errors", "checksum", "cookie", "short", "too_big_rx", "slow_full", "room"];

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
        let (fast, slow) = (carried(&shown, side, "fast")?, carried(&shown, side, "slow")?);
        step.check(
            fast.sent > 0 && fast.received > 0,
            &format!(
                "fast path: {} packets sent, {} received; slow path: {} and {}",
                fast.sent, fast.received, slow.sent, slow.received
            ),
        );

        let lost = grown(before, &counters::all(&shown), &LOSSES);
        step.check(lost.is_empty(), &format!("errors and losses: {}", listed(&lost)));
        step.fact(gateway.name(), shown);
    }
    Ok(())
}

/// Packets of a gateway's session that one path carried.
pub struct Carried {
    pub sent: u64,
    pub received: u64,
}

/// What `l2xdp show --json` says of a path, `fast` or `slow`.
pub fn carried(shown: &Value, side: Side, path: &str) -> Result<Carried> {
    let counters = counters::of_path(shown, side.session_id(), path);
    let counters = counters.with_context(|| format!("session {} is not in {shown}", side.session_id()))?;
    let count = |name| counters.get(name).copied().unwrap_or_default();
    Ok(Carried { sent: count("tx_packets"), received: count("rx_packets") })
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
