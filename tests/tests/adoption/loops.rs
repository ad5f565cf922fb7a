//! Under traffic: taken up and given back again and again, and both paths at once.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::Side;
use libtest_mimic::Trial;

use crate::bench::{Bench, end, is_fast, session, trial};
use crate::operator;
use crate::talk::{Pings, Talk};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("loops/accelerated-and-detached", accelerated_and_detached),
        trial("loops/both-paths-at-once", both_paths_at_once),
    ]
}

const ROUNDS: [&str; 10] = ["auto", "tc", "auto", "tc", "auto", "tc", "auto", "tc", "auto", "tc"];
/// On a path, before it changes again.
const STAY: Duration = Duration::from_millis(400);

/// No connection breaks, no frame is lost, none comes twice.
fn accelerated_and_detached(bench: &Bench) -> Result<()> {
    let lab = &bench.lab;
    operator::add_bridged(lab, "")?;
    set_host_mtu(lab, 1400)?;
    // Before TCX, to add clsact stops a device for a moment (`qdisc_graft`), so it is there before.
    for device in ["eth0", "l2x0"] {
        lab.tun01.run(&format!("tc qdisc add dev {device} clsact"))?;
    }
    let pings = Side::BOTH.map(|side| Pings::start(lab, side, 84));
    let talk = Talk::start(lab)?;
    for mode in ROUNDS {
        let daemon = bench.accelerate(Side::One, &["--xdp-mode", mode])?;
        thread::sleep(STAY);
        is_fast(&lab.tun01, Side::One.session_id())?;
        let said = daemon.detach(&lab.tun01)?;
        ensure!(said.contains("sessions back on the kernel's path: 1"), "{said}");
        thread::sleep(STAY);
    }
    // The last pings are not judged.
    thread::sleep(Duration::from_secs(1));
    let talked = talk.stop();
    for pings in pings {
        pings?.stop()?.are_all_there()?;
    }
    talked?;
    lab.tun01.run("tc qdisc del dev eth0 clsact")?;
    set_host_mtu(lab, 1500)
}

/// Frames too big for the path go the kernel's way, in fragments, while small ones go the fast way.
fn both_paths_at_once(bench: &Bench) -> Result<()> {
    let lab = &bench.lab;
    operator::add_bridged(lab, "")?;
    for gateway in [&lab.tun01, &lab.tun02] {
        gateway.run("ip link set l2x0 mtu 1500")?;
    }
    let daemons = Side::BOTH.map(|side| bench.accelerate(side, &[]));
    let pings = [(Side::One, 1500), (Side::Two, 1500), (Side::One, 84), (Side::Two, 1200)];
    let pings = pings.map(|(side, len)| Pings::start(lab, side, len));
    let talk = Talk::start(lab)?;
    thread::sleep(Duration::from_secs(5));
    let talked = talk.stop();
    for pings in pings {
        pings?.stop()?.are_all_there()?;
    }
    talked?;
    for (side, daemon) in Side::BOTH.into_iter().zip(daemons) {
        let shown = session(lab.gateway(side), side.session_id())?;
        for (path, counters) in [("fast", &shown.fast), ("slow", &shown.slow)] {
            for name in ["tx_packets", "rx_packets"] {
                let count = counters.get(name).and_then(serde_json::Value::as_u64);
                let count = count.with_context(|| format!("no counter {name}"))?;
                ensure!(count > 100, "the {path} path's {name}: {count}");
            }
        }
        end(daemon?)?;
    }
    Ok(())
}

/// What fits a pseudowire whose device has the MTU that the kernel gave it.
fn set_host_mtu(lab: &Lab, mtu: u16) -> Result<()> {
    [&lab.host01, &lab.host02]
        .into_iter()
        .try_for_each(|host| host.run(&format!("ip link set eth0 mtu {mtu}")).map(drop))
}
