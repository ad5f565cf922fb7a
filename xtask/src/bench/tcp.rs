//! TCP from host to host: iperf3, and the CPU time that it takes of the machine.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use l2xdp_tests::command::{self, SOON};
use l2xdp_tests::process::Process;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::Side;
use serde_json::Value;

use super::chain::{Chain, PLAIN, Wiring};
use super::report::{Measured, Report, alternate};
use super::setting::Setting;
use super::stream;
use super::way::{TUNNEL_MTU, Way, pair};

const WAYS: [Way; 6] = [Way::Bridge, Way::Netdev, Way::NetdevTc, Way::Port, Way::Vxlan, Way::L2tpEth];
const WIRINGS: [(&str, Wiring); 2] =
    [("no offloads", PLAIN), ("offloads", Wiring { offloads: true, ..PLAIN })];
const STREAMS: [(u32, &str); 2] = [(1, "1 stream"), (8, "8 streams")];
const SECONDS: u64 = 2;
/// Blocks of a stream, in a guest.
const BLOCKS: u32 = 5;

/// Gbit/s, and seconds of CPU time per Gbit; in a guest instructions per MiB.
pub fn run(setting: &Setting) -> Result<Report> {
    let name = |way: Way| way.name().to_owned();
    let figures = alternate(setting.rounds, &Way::available(&WAYS), name, |way| measure(way, setting))?;
    let cpu_time = "CPU time is what the whole machine did (/proc/stat: user, system, irq, softirq).";
    let mtu =
        format!("Hosts' MTU {TUNNEL_MTU} for all tunnels, 1500 on the raw wire, where gateways bridge.");
    Ok(Report {
        bench: "TCP from host to host".to_owned(),
        unit: if setting.counted { "instructions per MiB" } else { "Gbit/s, and CPU ms per Gbit" }.to_owned(),
        notes: if setting.counted { vec![mtu] } else { vec![mtu, cpu_time.to_owned()] },
        reference: Way::Bridge.name().to_owned(),
        pairs: vec![pair(Way::Netdev, Way::Vxlan), pair(Way::Port, Way::Vxlan)],
        ..setting.report(figures)?
    })
}

fn measure(way: Way, setting: &Setting) -> Result<Measured> {
    let mut measured = Measured::new();
    for (wires, wiring) in WIRINGS {
        let chain = Chain::build(wiring)?;
        let _at_work = way.start(&chain, &setting.loader)?;
        if way != Way::Bridge {
            for side in Side::BOTH {
                chain.host(side).run(&format!("ip link set eth0 mtu {TUNNEL_MTU}"))?;
            }
        }
        if setting.counted {
            measured.push((wires.to_owned(), counted(&chain).context(wires)?));
            continue;
        }
        for (streams, label) in STREAMS {
            let taken = iperf(&chain, streams).with_context(|| format!("{wires}, {label}"))?;
            measured.push((format!("{wires}, {label}: Gbit/s"), taken.gigabits / taken.seconds));
            measured.push((format!("{wires}, {label}: CPU ms/Gbit"), 1000.0 * taken.cpu / taken.gigabits));
        }
    }
    Ok(measured)
}

fn counted(chain: &Chain) -> Result<f64> {
    // A window that no queue on the way overflows by.
    chain.host(Side::Two).set("ipv4/tcp_rmem", "4096 524288 524288")?;
    let address = SocketAddr::new(Lab::lan_address(Side::Two).parse()?, 7000);
    stream::cost(chain.host(Side::One), chain.host(Side::Two), address, BLOCKS, false)
}

/// What a transfer came to.
struct Transfer {
    gigabits: f64,
    seconds: f64,
    /// Seconds.
    cpu: f64,
}

fn iperf(chain: &Chain, streams: u32) -> Result<Transfer> {
    let mut serve = chain.host(Side::Two).command("iperf3");
    serve.args(["--server", "--one-off", "--forceflush"]);
    let mut server = Process::start(&mut serve, &chain.work.file("iperf3.log"))?;
    server.await_sign("listening", SOON)?;
    let mut client = chain.host(Side::One).command("iperf3");
    client.args(["--json", "--client", Lab::lan_address(Side::Two), "--parallel", &streams.to_string()]);
    client.args(["--time", &SECONDS.to_string()]);
    let before = busy()?;
    let said = command::run(&mut client, SOON + Duration::from_secs(SECONDS))?;
    let cpu = busy()? - before;
    let said: Value = serde_json::from_str(&said).context("iperf3 printed no JSON")?;
    let sum = &said["end"]["sum_received"];
    let figure = |name: &str| sum[name].as_f64().with_context(|| format!("iperf3 does not say {name}"));
    Ok(Transfer { gigabits: figure("bytes")? * 8e-9, seconds: figure("seconds")?, cpu })
}

/// Seconds that the machine's CPUs have been busy.
fn busy() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let ticks = busy_ticks(&stat).context("/proc/stat has no line of all CPUs")?;
    let second = command::run(Command::new("getconf").arg("CLK_TCK"), SOON)?;
    Ok(ticks as f64 / second.trim().parse::<f64>()?)
}

/// user, nice, system, irq and softirq of all CPUs.
fn busy_ticks(stat: &str) -> Option<u64> {
    let words = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
    [0, 1, 2, 5, 6].into_iter().map(|column| ticks.get(column).copied()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idling_and_waiting_is_not_busy() {
        assert_eq!(busy_ticks("cpu  1 2 4 1000 1000 8 16 1000 0 0\ncpu0 1"), Some(31));
        assert_eq!(busy_ticks("cpu  1 2"), None);
    }
}
