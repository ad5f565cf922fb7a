//! Echo requests of any length.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Pair;
use crate::{command, interrupt};

const ICMP: u16 = 8;
/// How many echo requests [`ping`] sends.
pub const PINGS: u64 = 3;

/// Sends some IP packets of this length, which may not be fragmented; each must be answered with its bytes.
pub fn ping(pair: Pair<'_>, packet_len: u16) -> Result<()> {
    let payload = packet_len - pair.ip_header() - ICMP;
    let mut ping = request(pair, payload, &PINGS.to_string());
    let output = command::finish(&mut ping, Duration::from_secs(8))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let all = format!("{PINGS} received");
    ensure!(
        output.status.success() && text.contains(&all) && !text.contains("wrong data"),
        "ping to {} with {payload} bytes: {}{}",
        pair.to_address,
        text.trim(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Pings again and again until there is an answer; how long that took.
pub fn until_answered(pair: Pair<'_>, limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    let answered = interrupt::poll(limit, || {
        let mut ping = request(pair, 56, "1");
        ping.args(["-W", "0.1"]);
        Ok(command::finish(&mut ping, limit)?.status.success().then(|| start.elapsed()))
    })?;
    ensure!(answered.is_some(), "{} did not answer within {limit:?}", pair.to_address);
    Ok(start.elapsed())
}

fn request(pair: Pair<'_>, payload: u16, count: &str) -> Command {
    let mut ping = pair.from.command("ping");
    ping.args(["-n", "-q", "-M", "do", "-i", "0.01", "-W", "1", "-c", count]);
    ping.args(["-I", &pair.from_address.to_string(), "-s", &payload.to_string()]);
    ping.arg(pair.to_address.to_string());
    ping
}
