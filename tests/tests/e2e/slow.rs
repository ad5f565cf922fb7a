//! The slow path of standalone sessions: what the programs leave to the daemon.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use l2xdp_tests::capture::Capture;
use l2xdp_tests::command;
use l2xdp_tests::daemon::Gateways;
use l2xdp_tests::interrupt;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::tshark::Tshark;
use l2xdp_tests::wire::{Attach, Cookie, Mss, Seq, Side, Underlay, Wire};
use libtest_mimic::Trial;

use crate::bench::{self, Bench, Kind};
use crate::differences::Differences;
use crate::frames::{self, Named, Send as _, is_ours, same};
use crate::packet::PacketSocket;
use crate::pcap;
use crate::traffic::{Pair, transfer, until_answered};

/// The longest frame of an Ethernet without tags.
const LONGEST: u16 = 1514;
const AT_START: Duration = Duration::from_secs(4);
const SOON: Duration = Duration::from_secs(2);

/// Frames too big for the path, alone and beside others, sequence numbers, and what IPsec is to protect.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, attach) in [("netdev", Attach::Netdev), ("port", Attach::Port)] {
        let wire = Wire { mss: Mss::Off, mtu: mtu(attach), ..Wire::new(attach) };
        for (version, underlay) in [("ipv4", Underlay::V4), ("ipv6", Underlay::V6)] {
            let wire = Wire { underlay, cookie: Cookie::Four, ..wire };
            let name = format!("slow/too-big/{name}/{version}");
            trials.push(bench::trial(name, Kind::Silent, move |bench| too_big(bench, &wire)));
        }
        for (seq_name, seq) in [("send", Seq::Send), ("both", Seq::Both)] {
            let wire = Wire { seq, ..wire };
            let name = format!("slow/sequenced/{name}/{seq_name}");
            trials.push(bench::trial(name, Kind::Silent, move |bench| sequenced(bench, &wire)));
        }
        let wire = Wire { mss: Mss::Auto, ..wire };
        let ipsec = format!("slow/ipsec-policy/{name}");
        trials.push(bench::trial(ipsec, Kind::Own, move |bench| ipsec_policy(bench, &wire)));
        let name = format!("slow/beside-the-fast-path/{name}");
        trials.push(bench::trial(name, Kind::Talking, move |bench| beside(bench, &wire)));
    }
    trials
}

/// A device that takes what hosts send, whatever the path takes.
fn mtu(attach: Attach) -> Option<u16> {
    (attach == Attach::Netdev).then_some(1500)
}

/// What moves at a gateway that has the daemon send these frames, for such a reason: each is finished by the splitter
/// before.
pub fn sent(reason: &'static str, frames: &[Named]) -> Vec<(&'static str, u64)> {
    let count = frames.len() as u64;
    let counters = [("reason.gso_tx", count), (reason, count), ("slow.tx_packets", count)];
    counters.into_iter().chain([("slow.tx_bytes", bytes(frames))]).collect()
}

/// What moves at a gateway whose daemon delivers these frames, of so many packets that the programs left for such a
/// reason.
pub fn received(reason: &'static str, packets: u64, frames: &[Named]) -> Vec<(&'static str, u64)> {
    let count = frames.len() as u64;
    let counters = [(reason, packets), ("socket.data", count), ("slow.rx_packets", count)];
    counters.into_iter().chain([("slow.rx_bytes", bytes(frames))]).collect()
}

/// The same for frames that came in two fragments each.
pub fn received_in_fragments(frames: &[Named]) -> Vec<(&'static str, u64)> {
    received("reason.fragment", frames.len() as u64 * 2, frames)
}

fn bytes(frames: &[Named]) -> u64 {
    frames.iter().map(|frame| frame.bytes.len() as u64).sum()
}

/// Every length that a LAN can have and the path can't, in two fragments each.
fn too_big(bench: &Bench, wire: &Wire) -> Result<()> {
    let lab = &bench.lab;
    let gateways = lab.start(&bench.loader, wire)?;
    let frames: Vec<_> = (1501 - wire.overhead()..=LONGEST).map(frames::length).collect();
    let capture = Capture::start(&lab.inet, "eth1", "ip or ip6", &lab.work.file("too-big.pcap"))?;
    for side in Side::BOTH {
        let (mut near, mut far) = both(lab, &gateways, side)?;
        one_by_one(lab, side, &frames)?;
        near.are(&sent("reason.too_big", &frames))?;
        far.are(&received_in_fragments(&frames))?;
    }
    let captured = capture.stop()?;
    let tshark = Tshark::new(wire);
    tshark.is_content(&captured)?;
    let rows = tshark.fields(&captured, "l2tp", &["ip.fragment.count", "ipv6.fragment.count"])?;
    ensure!(rows.len() == 2 * frames.len(), "tshark sees {} messages of {}", rows.len(), 2 * frames.len());
    ensure!(rows.iter().all(|row| row.concat() == "2"), "not all of two fragments: {rows:?}");
    gateways.stop()
}

/// Messages carry numbers that count up from 0, and the daemon carries them all.
fn sequenced(bench: &Bench, wire: &Wire) -> Result<()> {
    let lab = &bench.lab;
    let gateways = lab.start(&bench.loader, wire)?;
    let mut frames: Vec<_> = frames::varied().into_iter().step_by(5).collect();
    frames.extend([14, 60, 1500 - wire.overhead()].map(frames::length));
    let capture = Capture::start(&lab.inet, "eth1", "udp", &lab.work.file("sequenced.pcap"))?;
    for side in Side::BOTH {
        let shown = gateways.daemon(side).show_json(lab.gateway(side))?;
        let trouble = &shown["sessions"][0]["trouble"];
        ensure!(trouble == "on the slow path: sequence numbers are on", "it shows {trouble}");
        let (mut near, mut far) = both(lab, &gateways, side)?;
        one_by_one(lab, side, &frames)?;
        near.are(&sent("reason.seq_tx", &frames))?;
        far.are(&received("reason.sequenced", frames.len() as u64, &frames))?;
    }
    let captured = capture.stop()?;
    let tshark = Tshark::new(wire);
    for side in Side::BOTH {
        let filter = format!("l2tp and udp.dstport == {}", side.port());
        let rows = tshark.fields(&captured, &filter, &["l2tp.l2_spec_s", "l2tp.l2_spec_sequence"])?;
        let expected: Vec<_> = (0..frames.len()).map(|ns| vec!["1".to_owned(), ns.to_string()]).collect();
        ensure!(rows == expected, "S bits and numbers to {side:?} are {rows:?}");
    }
    gateways.stop()
}

/// What a TCP connection may have under way, in bytes: least, at first, most.
const TCP_WMEM: &str = "ipv4/tcp_wmem";

/// Hosts fill the fast path while others' packets are too big for it: each arrives, once.
fn beside(bench: &Bench, wire: &Wire) -> Result<()> {
    const PINGS: u64 = 200;
    let lab = &bench.lab;
    let gateways = lab.start(&bench.loader, wire)?;
    let pair = Pair::v4(lab, Side::One)?;
    until_answered(pair, AT_START)?;
    let (one, two) = both_at_rest(lab, &gateways)?;
    // Less is under way than a veth's queue holds, which would overflow on a busy machine.
    for host in [pair.from, pair.to] {
        host.set(TCP_WMEM, "4096 65536 98304")?;
    }
    let pinged = thread::scope(|scope| {
        let pings = scope.spawn(|| {
            let mut ping = pair.from.command("ping");
            ping.args(["-n", "-q", "-M", "do", "-s", "1472", "-i", "0.01", "-c", &PINGS.to_string()]);
            command::run(ping.arg(pair.to_address.to_string()), Duration::from_secs(20))
        });
        while !pings.is_finished() {
            transfer(pair, 4 << 20)?;
        }
        pings.join().map_err(|_| anyhow!("ping panicked"))?
    })?;
    let whole = format!("{PINGS} received, 0% packet loss");
    ensure!(pinged.contains(&whole) && !pinged.contains("DUP"), "{pinged}");

    for (from, to) in [(&one, &two), (&two, &one)] {
        let slow = from.moved_by("slow.tx_packets")?;
        ensure!(slow == PINGS, "{slow} frames by the slow path, of {PINGS}");
        for path in ["", "slow."] {
            let counts = || -> Result<_> {
                let sent = from.moved_by(&format!("{path}tx_packets"))?;
                Ok((sent, to.moved_by(&format!("{path}rx_packets"))?))
            };
            // Hosts may still say something; what is lost or doubled stays so.
            let same = interrupt::poll(SOON, || {
                Ok(counts().map(|(sent, received)| sent == received)?.then_some(()))
            })?;
            ensure!(same.is_some(), "sent and received by {path:?}: {:?} frames", counts()?);
        }
    }
    for host in [pair.from, pair.to] {
        host.set(TCP_WMEM, "4096 16384 4194304")?;
    }
    gateways.stop()
}

/// What IPsec is to protect does not leave in the clear, which on the fast path it would.
fn ipsec_policy(bench: &Bench, wire: &Wire) -> Result<()> {
    const POLICY: &str = "src 1.1.1.2 dst 2.2.2.2 dir out";
    const COVERED: &str = "on the slow path: an IPsec policy covers the tunnel";
    let lab = &bench.lab;
    let gateways = lab.start(&bench.loader, wire)?;
    let pair = Pair::v4(lab, Side::One)?;
    until_answered(pair, AT_START)?;
    let daemon = gateways.daemon(Side::One);
    let template = "tmpl src 1.1.1.2 dst 2.2.2.2 proto esp mode transport";
    lab.tun01.run(&format!("ip xfrm policy add {POLICY} {template}"))?;
    let told = interrupt::poll(SOON, || Ok(daemon.log().contains(COVERED).then_some(())))?;
    ensure!(told.is_some(), "it has not taken up the policy: {}", daemon.log());
    let shown = daemon.show_json(&lab.tun01)?;
    let trouble = shown["sessions"][0]["trouble"].to_string();
    ensure!(trouble.contains(COVERED), "it shows {trouble}");

    let near = Differences::since(daemon, &lab.tun01)?;
    let leaves = Capture::start(&lab.inet, "eth1", "src host 1.1.1.2 and udp", &lab.work.file("clear.pcap"))?;
    // There are no keys for IPsec: nothing can leave protected either.
    ensure!(until_answered(pair, Duration::from_millis(500)).is_err(), "a frame left in the clear");
    let left = pcap::read(&leaves.stop()?)?;
    ensure!(left.is_empty(), "{} messages left in the clear", left.len());
    near.moved_at_least("reason.gso_tx", 3)?;
    ensure!(near.moved_by("tx_packets")? == 0, "the fast path has sent");

    lab.tun01.run(&format!("ip xfrm policy delete {POLICY}"))?;
    until_answered(pair, SOON).context("without the policy")?;
    // The slow path may have carried the first answers.
    let again = interrupt::poll(SOON, || {
        until_answered(pair, SOON)?;
        Ok((near.moved_by("tx_packets")? > 0).then_some(()))
    })?;
    ensure!(again.is_some(), "the fast path has not sent again");
    gateways.stop()
}

/// Watches on the counters of a side and of the other.
fn both<'a>(lab: &'a Lab, gateways: &'a Gateways, side: Side) -> Result<(Differences<'a>, Differences<'a>)> {
    let since = |side| Differences::since(gateways.daemon(side), lab.gateway(side));
    Ok((since(side)?, since(side.other())?))
}

/// Of both gateways, from a moment on when nothing is under way between them.
fn both_at_rest<'a>(lab: &'a Lab, gateways: &'a Gateways) -> Result<(Differences<'a>, Differences<'a>)> {
    const REST: Duration = Duration::from_millis(200);
    let at_rest = interrupt::poll(AT_START, || {
        let (one, two) = both(lab, gateways, Side::One)?;
        thread::sleep(REST);
        for gateway in [&one, &two] {
            for name in ["tx_packets", "rx_packets"] {
                if gateway.moved_by(name)? != 0 {
                    return Ok(None);
                }
            }
        }
        Ok(Some((one, two)))
    })?;
    at_rest.context("the hosts never stop talking")
}

/// Frames from the host of a side to the other. One at a time: those that a host sends from several CPUs may overtake
/// each other on the way to the daemon.
fn one_by_one(lab: &Lab, side: Side, frames: &[Named]) -> Result<()> {
    let from = PacketSocket::open(lab.host(side), "eth0")?;
    let to = PacketSocket::open(lab.host(side.other()), "eth0")?;
    for frame in frames {
        from.send(&frame.bytes)?;
        let received = to.receive(Duration::from_secs(1), is_ours)?;
        same(frame, &received.with_context(|| format!("{} did not arrive", frame.name))?)?;
    }
    frames::nothing(&to, Duration::from_millis(50))
}
