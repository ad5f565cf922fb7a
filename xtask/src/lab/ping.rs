//! Step 1: the hosts reach each other.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::capture::Capture;
use l2xdp_tests::command;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::{Side, Wire};

use super::report::Step;

const COUNT: u32 = 5;

/// Pings, and captures what passes the WAN meanwhile.
pub fn show(lab: &Lab, wire: &Wire, step: &mut Step<'_>) -> Result<PathBuf> {
    let filter = format!("udp port {} and udp port {}", Side::One.port(), Side::Two.port());
    let capture = Capture::start(&lab.inet, "eth1", &filter, &lab.work.file("wan.pcap"))?;
    let mut ping = lab.host01.command("ping");
    ping.args(["-n", "-c", &COUNT.to_string(), "-i", "0.1", "-W", "1", Lab::lan_address(Side::Two)]);
    // ping's exit status only tells whether anything came back; it says what.
    let output = command::finish(&mut ping, Duration::from_secs(10))?;
    let captured = capture.stop()?;

    let text = String::from_utf8_lossy(&output.stdout);
    let received = number_before(&text, " received").with_context(|| format!("ping printed {text}"))?;
    let average = text.lines().find_map(|line| line.strip_prefix("rtt ")?.split('/').nth(4));
    step.check(
        received == COUNT,
        &format!("{received} of {COUNT} answered, in {} ms on average", average.unwrap_or("?")),
    );
    step.fact("received", received);
    step.fact("rtt_avg_ms", average.and_then(|average| average.parse::<f64>().ok()));
    ensure!(received > 0, "no answer through {wire:?}");
    Ok(captured)
}

fn number_before(text: &str, unit: &str) -> Option<u32> {
    let (before, _) = text.split_once(unit)?;
    before.rsplit([' ', '\n']).next()?.parse().ok()
}
