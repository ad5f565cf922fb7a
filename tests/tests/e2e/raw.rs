//! Frames of every kind through a pseudowire: byte for byte, and in order.

use anyhow::{Result, ensure};
use l2xdp_tests::capture::Capture;
use l2xdp_tests::daemon::Gateways;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::{Attach, Cookie, Mss, Side, Underlay, Wire};
use libtest_mimic::Trial;

use crate::bench::{self, Bench, Kind};
use crate::differences::Differences;
use crate::frames::{self, Named, carried};
use crate::packet::PacketSocket;
use crate::{pcap, slow};

/// Both attachments over both underlays, in every mode in which they differ; and a capture from the wild.
pub fn trials() -> Vec<Trial> {
    let modes = [(Attach::Netdev, ["auto", "tc"].as_slice()), (Attach::Port, &["auto", "native", "tc"])];
    let mut trials = Vec::new();
    for (attach, modes) in modes {
        for underlay in [Underlay::V4, Underlay::V6] {
            for xdp_mode in modes {
                let cookie = if underlay == Underlay::V4 { Cookie::None } else { Cookie::Eight };
                let wire = Wire { underlay, cookie, mss: Mss::Off, xdp_mode, ..Wire::new(attach) };
                let name = format!("frames/{attach:?}/ip{underlay:?}/{xdp_mode}").to_lowercase();
                trials.push(bench::trial(name, Kind::Silent, move |bench| carries(bench, &wire)));
            }
        }
    }
    for xdp_mode in ["auto", "native"] {
        let wire = Wire { mss: Mss::Off, xdp_mode, ..Wire::new(Attach::Port) };
        let name = format!("frames/pcap-replayed/{xdp_mode}");
        trials.push(bench::trial(name, Kind::Silent, move |bench| replayed(bench, &wire)));
    }
    trials
}

fn carries(bench: &Bench, wire: &Wire) -> Result<()> {
    let lab = &bench.lab;
    let gateways = lab.start(&bench.loader, wire)?;
    let max = 1500 - wire.overhead();
    for side in Side::BOTH {
        let from = PacketSocket::open(lab.host(side), "eth0")?;
        let to = PacketSocket::open(lab.host(side.other()), "eth0")?;
        carried(&from, &to, &all(wire))?;
        carried(&from, &to, &frames::lengths(max))?;
        too_big(lab, &gateways, side, &from, &to, max)?;
    }
    gateways.stop()
}

fn all(wire: &Wire) -> Vec<Named> {
    let mut all = frames::varied();
    if wire.attach == Attach::Port {
        all.extend(frames::link_local());
    }
    all
}

/// The longest frame goes by the fast path, one of a byte more by the slow path, in two pieces.
fn too_big(
    lab: &Lab,
    gateways: &Gateways,
    side: Side,
    from: &PacketSocket,
    to: &PacketSocket,
    max: u16,
) -> Result<()> {
    let since = |side| Differences::since(gateways.daemon(side), lab.gateway(side));
    let (mut near, mut far) = (since(side)?, since(side.other())?);
    carried(from, to, &[frames::length(max)])?;
    near.are(&[("tx_packets", 1), ("tx_bytes", max.into())])?;
    far.are(&[("rx_packets", 1), ("rx_bytes", max.into())])?;

    let longer = [frames::length(max + 1)];
    carried(from, to, &longer)?;
    near.are(&slow::sent("reason.too_big", &longer))?;
    far.are(&slow::received_in_fragments(&longer))
}

/// A capture file sent by one host is, as captured at the other, the same.
fn replayed(bench: &Bench, wire: &Wire) -> Result<()> {
    let lab = &bench.lab;
    let gateways = lab.start(&bench.loader, wire)?;
    let wild = lab.work.file("wild.pcap");
    pcap::write(&wild, &all(wire))?;
    let sent = pcap::read(&wild)?;
    ensure!(sent.len() > 100, "only {} frames to replay", sent.len());

    let from = PacketSocket::open(&lab.host01, "eth0")?;
    let to = PacketSocket::open(&lab.host02, "eth0")?;
    let capture =
        Capture::start(&lab.host02, "eth0", "ether src 02:e2:e0:00:00:01", &lab.work.file("at-host02.pcap"))?;
    carried(&from, &to, &sent)?;
    let captured = pcap::read(&capture.stop()?)?;
    let captured: Vec<_> = captured.iter().filter(|frame| frames::is_ours(&frame.bytes)).collect();
    sent.iter().zip(&captured).try_for_each(|(sent, captured)| frames::same(sent, &captured.bytes))?;
    ensure!(captured.len() == sent.len(), "{} frames sent, {} captured", sent.len(), captured.len());
    gateways.stop()
}
