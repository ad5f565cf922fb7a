//! Single VLANs of a port, each in a session of its own.

mod devices;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use devices::Devices;
use l2xdp_tests::capture::Capture;
use l2xdp_tests::daemon::Gateways;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::tshark::Tshark;
use l2xdp_tests::wire::{Attach, Cookie, Mss, Side, Wire};
use libtest_mimic::Trial;

use crate::bench::{self, Bench, Kind};
use crate::differences::Differences;
use crate::frames::{self, Send as _, carried};
use crate::packet::PacketSocket;
use crate::slow;
use crate::traffic::{Pair, Syns, datagrams, ping, transfer, until_answered};

/// The sessions' VLANs; the second session's ids are one higher.
const VLANS: [u16; 2] = [100, 200];
const ELSEWHERE: u16 = 300;
const BYTES: usize = 2 << 20;

/// In all modes; XDP on a veth sees no tags that are kept beside the bytes, so hosts use none of those there.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for xdp_mode in ["auto", "native", "tc"] {
        let wire = Wire { xdp_mode, cookie: Cookie::Four, ..Wire::new(Attach::PortVlan(VLANS[0])) };
        let named = |what| format!("port-vlan/{what}/{xdp_mode}");
        trials.push(bench::trial(named("hosts"), Kind::Talking, move |bench| hosts(bench, &wire)));
        let wire = Wire { mss: Mss::Off, ..wire };
        trials.push(bench::trial(named("frames"), Kind::Silent, move |bench| frames(bench, &wire)));
    }
    trials
}

fn start(bench: &Bench, wire: &Wire) -> Result<Gateways> {
    let config = |side: Side| {
        let first = wire.config(side);
        let (_, session) = first.split_once("\n[[tunnel.session]]").unwrap_or_default();
        let second =
            [(side, ""), (side.other(), "peer_")].iter().fold(session.to_owned(), |text, (side, _)| {
                let id = side.session_id();
                text.replace(&format!("= {id}"), &format!("= {}", id + 1))
            });
        let second = second.replace(&format!("vlan = {}", VLANS[0]), &format!("vlan = {}", VLANS[1]));
        format!("{first}\n[[tunnel.session]]{second}")
    };
    Gateways::with(&bench.lab, &bench.loader, wire.xdp_mode, config)
}

fn hosts(bench: &Bench, wire: &Wire) -> Result<()> {
    let lab = &bench.lab;
    lab.remove_bridges();
    let _devices = Devices::add(lab, &VLANS)?;
    let gateways = start(bench, wire)?;
    let near = Differences::since(gateways.daemon(Side::One), &lab.tun01)?;
    untagged_is_left_to_the_kernel(lab)?;
    near.moved_at_least("reason.no_attachment", 3)?;

    for vlan in VLANS {
        until_answered(pair(lab, vlan)?, Duration::from_secs(4))?;
    }
    let capture = Capture::start(&lab.inet, "eth1", "udp", &lab.work.file("vlan.pcap"))?;
    for vlan in VLANS {
        ping(pair(lab, vlan)?, 1500 - wire.overhead() - 14)?;
        datagrams(pair(lab, vlan)?)?;
    }
    judge(wire, capture)?;
    let states = if wire.xdp_mode == "native" { ["off"].as_slice() } else { &["on", "off"] };
    for state in states {
        talk(lab, wire, state).with_context(|| format!("with offloads {state}"))?;
    }
    gateways.stop()
}

fn talk(lab: &Lab, wire: &Wire, offloads: &str) -> Result<()> {
    for side in Side::BOTH {
        lab.host(side).run(&format!("ethtool -K eth0 tx {offloads} txvlan {offloads} tso {offloads}"))?;
    }
    for vlan in VLANS {
        let pair = pair(lab, vlan)?;
        let syns = Syns::watch(pair.from, pair.to, &devices::name(vlan))?;
        transfer(pair, BYTES)?;
        syns.offered(wire.mss_that_fits())?;
    }
    Ok(())
}

/// What has no tag reaches the gateway itself.
fn untagged_is_left_to_the_kernel(lab: &Lab) -> Result<()> {
    const OWN: &str = "192.168.0.254";
    lab.tun01.run(&format!("ip addr add {OWN}/24 dev eth1"))?;
    let pinged = lab.host01.run(&format!("ping -n -q -c 3 -i 0.01 -W 1 {OWN}"));
    lab.tun01.run(&format!("ip addr del {OWN}/24 dev eth1"))?;
    pinged.map(drop)
}

/// tshark sees each VLAN in its session, and no tag.
fn judge(wire: &Wire, capture: Capture) -> Result<()> {
    let captured = capture.stop()?;
    let tshark = Tshark::new(wire);
    tshark.is_content(&captured)?;
    ensure!(tshark.fields(&captured, "vlan", &["vlan.id"])?.is_empty(), "tshark sees a VLAN tag on the wire");
    for (vlan, session) in VLANS.into_iter().zip(Side::Two.session_id()..) {
        let filter = format!("ip.dst == {}", devices::address(vlan, Side::Two));
        let rows = tshark.fields(&captured, &filter, &["l2tp.sid"])?;
        let expected = format!("0x{session:08x}");
        ensure!(rows.len() > 50, "tshark sees only {} packets of VLAN {vlan}", rows.len());
        ensure!(
            rows.iter().all(|row| row[0] == expected),
            "VLAN {vlan} is in other sessions than {expected}"
        );
    }
    Ok(())
}

fn frames(bench: &Bench, wire: &Wire) -> Result<()> {
    let lab = &bench.lab;
    lab.remove_bridges();
    let gateways = start(bench, wire)?;
    let (from, to) = (PacketSocket::open(&lab.host01, "eth0")?, PacketSocket::open(&lab.host02, "eth0")?);
    let max = 1500 - wire.overhead();
    for vlan in VLANS {
        let plain = frames::varied().into_iter().chain(frames::link_local()).chain([frames::length(max)]);
        let tagged = plain.map(|frame| frame.tagged(vlan));
        let tagged: Vec<_> = tagged.filter(|frame| frames::survives_linux(&frame.bytes)).collect();
        carried(&from, &to, &tagged)?;
        carried(&to, &from, &tagged)?;
    }
    let mut near = Differences::since(gateways.daemon(Side::One), &lab.tun01)?;
    for stranger in [frames::length(60), frames::length(60).tagged(ELSEWHERE)] {
        from.send(&stranger.bytes)?;
        frames::nothing(&to, Duration::from_millis(100))?;
        near.are(&[("reason.no_attachment", 1)])?;
    }
    let mut far = Differences::since(gateways.daemon(Side::Two), &lab.tun02)?;
    let longer = [frames::length(max + 1)];
    carried(&from, &to, &longer.each_ref().map(|frame| frame.tagged(VLANS[0])))?;
    near.are(&slow::sent("reason.too_big", &longer))?;
    far.are(&slow::received_in_fragments(&longer))?;
    gateways.stop()
}

fn pair(lab: &Lab, vlan: u16) -> Result<Pair<'_>> {
    let address = |side| Ok::<_, anyhow::Error>(devices::address(vlan, side).parse()?);
    let (from_address, to_address) = (address(Side::One)?, address(Side::Two)?);
    Ok(Pair { from: &lab.host01, to: &lab.host02, from_address, to_address })
}
