//! Step 3: TCP between the hosts, by iperf3.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use l2xdp_tests::capture::{Capture, SYN};
use l2xdp_tests::command::{self, SOON};
use l2xdp_tests::process::Process;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::Side;
use serde_json::{Value, json};

use super::report::Step;

/// How long each transfer takes.
pub const SECONDS: u32 = 2;

/// What came of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Bytes that arrived, each second.
    pub bytes_per_second: f64,
    /// Segments sent again.
    pub retransmits: u64,
}

/// What came of the transfers in both directions.
pub struct Both {
    /// The first one, host01 → host02.
    pub forth: Transfer,
    /// The SYNs of both, seen at both hosts.
    pub captures: Captures,
}

/// The SYNs seen at both hosts.
pub struct Captures {
    /// At host01.
    pub one: PathBuf,
    /// At host02.
    pub two: PathBuf,
}

/// Transfers in both directions, with the SYNs captured.
pub fn show(lab: &Lab, step: &mut Step<'_>) -> Result<Both> {
    let (transfers, captures) =
        captured(lab, || Ok((transfer(lab, Side::One, SECONDS)?, transfer(lab, Side::Two, SECONDS)?)))?;
    for (name, title, transfer) in [
        ("host01_to_host02", "host01 → host02", transfers.0),
        ("host02_to_host01", "host02 → host01", transfers.1),
    ] {
        let text = format!("{title}: {}, {} segments sent again", rate(transfer), transfer.retransmits);
        step.check(transfer.bytes_per_second > 1e6, &text);
        step.fact(name, facts(transfer));
    }
    Ok(Both { forth: transfers.0, captures })
}

/// Does something while the SYNs at both hosts are captured.
pub fn captured<T>(lab: &Lab, action: impl FnOnce() -> Result<T>) -> Result<(T, Captures)> {
    let capture = |side, file| Capture::start(lab.host(side), "eth0", SYN, &lab.work.file(file));
    let one = capture(Side::One, "host01.pcap")?;
    let two = capture(Side::Two, "host02.pcap")?;
    let done = action()?;
    Ok((done, Captures { one: one.stop()?, two: two.stop()? }))
}

/// Sends as much as will go in some seconds.
pub fn transfer(lab: &Lab, from: Side, seconds: u32) -> Result<Transfer> {
    let to = from.other();
    let mut server = lab.host(to).command("iperf3");
    server.args(["-s", "-1", "--forceflush", "-B", Lab::lan_address(to)]);
    let mut server = Process::start(&mut server, &lab.work.file("iperf3.log"))?;
    server.await_sign("listening", SOON)?;

    let mut client = lab.host(from).command("iperf3");
    client.args(["-c", Lab::lan_address(to), "-t", &seconds.to_string(), "-J", "--connect-timeout", "3000"]);
    let text = command::run(&mut client, Duration::from_secs(u64::from(seconds) + 10))?;
    let result: Value = serde_json::from_str(&text).context("iperf3 printed no JSON")?;
    let end = &result["end"];
    let received = end["sum_received"]["bytes"].as_f64();
    Ok(Transfer {
        bytes_per_second: received.with_context(|| format!("iperf3 measured nothing: {text}"))?
            / f64::from(seconds),
        retransmits: end["sum_sent"]["retransmits"].as_u64().unwrap_or_default(),
    })
}

/// For machines.
pub fn facts(transfer: Transfer) -> Value {
    json!({"bytes_per_second": transfer.bytes_per_second, "retransmits": transfer.retransmits})
}

/// For a person.
pub fn rate(transfer: Transfer) -> String {
    let bits = transfer.bytes_per_second * 8.0;
    match bits {
        1e9.. => format!("{:.2} Gbit/s", bits / 1e9),
        1e6.. => format!("{:.1} Mbit/s", bits / 1e6),
        _ => format!("{bits:.0} bit/s"),
    }
}
