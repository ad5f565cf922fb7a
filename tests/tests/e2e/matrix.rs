//! Every way to set up a pseudowire, with hosts talking over it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::capture::Capture;
use l2xdp_tests::netns::Namespace;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::tshark::Tshark;
use l2xdp_tests::wire::{Attach, Cookie, L2Spec, Side, Underlay, Wire};
use libtest_mimic::Trial;

use crate::bench::{self, Bench, Kind};
use crate::traffic::{Pair, Syns, datagrams, ping, transfer, until_answered};

/// Sent each way by a transfer.
const MUCH: usize = 4 << 20;
const LITTLE: usize = 64 << 10;

/// All combinations in auto mode; in the others those that differ in more than the length of a header.
pub fn trials() -> Vec<Trial> {
    let mut wires = Vec::new();
    for (attach, underlay) in attachments() {
        for cookie in [Cookie::None, Cookie::Four, Cookie::Eight] {
            for l2spec in [L2Spec::None, L2Spec::Default] {
                wires.push(Wire { underlay, cookie, l2spec, ..Wire::new(attach) });
            }
        }
    }
    for xdp_mode in ["native", "tc"] {
        for (attach, underlay) in attachments() {
            wires.push(Wire { underlay, cookie: Cookie::Eight, xdp_mode, ..Wire::new(attach) });
        }
    }
    wires
        .into_iter()
        .map(|wire| bench::trial(name(&wire), Kind::Talking, move |bench| carries(bench, &wire)))
        .collect()
}

fn attachments() -> impl Iterator<Item = (Attach, Underlay)> {
    [Attach::Netdev, Attach::Port]
        .into_iter()
        .flat_map(|attach| [Underlay::V4, Underlay::V6].map(|underlay| (attach, underlay)))
}

/// As in `netdev/ipv4/cookie8/default/auto`.
fn name(wire: &Wire) -> String {
    let attach = if wire.attach == Attach::Netdev { "netdev" } else { "port" };
    let underlay = if wire.underlay == Underlay::V4 { "ipv4" } else { "ipv6" };
    let l2spec = if wire.l2spec == L2Spec::None { "none" } else { "default" };
    format!("{attach}/{underlay}/cookie{}/{l2spec}/{}", wire.cookie.bytes(), wire.xdp_mode)
}

fn carries(bench: &Bench, wire: &Wire) -> Result<()> {
    let lab = &bench.lab;
    let gateways = lab.start(&bench.loader, wire)?;
    until_answered(Pair::v4(lab, Side::One)?, Duration::from_secs(4))?;
    until_answered(Pair::v6(lab, Side::One)?, Duration::from_secs(4))?;

    pings(lab, wire)?;
    let captured = Capture::start(&lab.inet, "eth1", "udp", &lab.work.file("wan.pcap"))?;
    talk(lab, wire, LITTLE)?;
    judge(wire, captured)?;

    for (what, places, state) in [
        ("the hosts' default offloads", &hosts(lab)[..], "on"),
        ("default offloads everywhere", &everywhere(lab), "on"),
        ("no offloads", &everywhere(lab), "off"),
    ] {
        offloads(places, state)
            .and_then(|()| talk(lab, wire, MUCH))
            .with_context(|| format!("with {what}"))?;
    }
    gateways.stop()
}

/// The longest inner IP packet.
fn mtu(wire: &Wire) -> u16 {
    1500 - wire.overhead() - 14
}

fn pings(lab: &Lab, wire: &Wire) -> Result<()> {
    for side in Side::BOTH {
        for pair in [Pair::v4(lab, side)?, Pair::v6(lab, side)?] {
            let shortest = pair.ip_header() + 8 + 1;
            for len in [shortest, 576, mtu(wire) - 1, mtu(wire)] {
                ping(pair, len)?;
            }
        }
    }
    Ok(())
}

/// TCP and UDP over both IP versions, each begun by another host.
fn talk(lab: &Lab, wire: &Wire, bytes: usize) -> Result<()> {
    for (pair, bytes) in [(Pair::v4(lab, Side::One)?, bytes), (Pair::v6(lab, Side::Two)?, bytes / 4)] {
        datagrams(pair)?;
        let syns = Syns::watch(pair.from, pair.to, "eth0")?;
        transfer(pair, bytes)?;
        syns.offered(mtu(wire) - pair.ip_header() - 20)?;
    }
    Ok(())
}

/// A device of a namespace.
type Place<'a> = (&'a Namespace, &'static str);

fn hosts(lab: &Lab) -> [Place<'_>; 2] {
    [(&lab.host01, "eth0"), (&lab.host02, "eth0")]
}

fn everywhere(lab: &Lab) -> Vec<Place<'_>> {
    let gateways =
        [&lab.tun01, &lab.tun02].into_iter().flat_map(|gateway| [(gateway, "eth0"), (gateway, "eth1")]);
    let router = [(&lab.inet, "eth1"), (&lab.inet, "eth2")];
    hosts(lab).into_iter().chain(gateways).chain(router).collect()
}

/// What a veth has by default, or what is like a real wire.
fn offloads(places: &[Place<'_>], state: &str) -> Result<()> {
    places.iter().try_for_each(|(namespace, device)| {
        namespace.run(&format!("ethtool -K {device} tx {state} txvlan {state} tso {state}")).map(drop)
    })
}

/// tshark's view of the WAN: every message is of this pseudowire, and nothing is wrong with any.
fn judge(wire: &Wire, capture: Capture) -> Result<()> {
    let captured = capture.stop()?;
    let tshark = Tshark::new(wire);
    tshark.is_content(&captured)?;

    let fields =
        ["udp.dstport", "l2tp.sid", "l2tp.cookie", "l2tp.l2_spec_def", "udp.checksum.status", "eth.type"];
    let rows = tshark.fields(&captured, "udp.port == 6000", &fields)?;
    for side in Side::BOTH {
        let port = side.port().to_string();
        let messages: Vec<_> = rows.iter().filter(|row| outermost(&row[0]) == port).collect();
        ensure!(messages.len() > 90, "tshark sees only {} messages to port {port}", messages.len());
        for row in messages {
            let cookie = wire.cookie(side.other()).unwrap_or_default();
            let (session, l2spec) = (format!("0x{:08x}", side.session_id()), wire.l2spec == L2Spec::Default);
            ensure!(
                row[1] == session && row[2] == cookie && row[3].is_empty() != l2spec,
                "tshark sees session, cookie, sublayer {:?} in a message to port {port}",
                &row[1..4]
            );
            // 1: good; 3: not present, as IPv4 allows it.
            let status = if wire.underlay == Underlay::V6 { "1" } else { "3" };
            ensure!(outermost(&row[4]) == status, "the outer UDP checksum has status {}", row[4]);
            let inner = row[5].split(',').nth(1).unwrap_or_default();
            ensure!(["0x0800", "0x86dd", "0x0806"].contains(&inner), "tshark sees inner EtherType {inner:?}");
        }
    }
    Ok(())
}

fn outermost(values: &str) -> &str {
    values.split(',').next().unwrap_or_default()
}
