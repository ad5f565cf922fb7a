//! One gateway, and at the far end an L2TPv3 endpoint that is neither l2xdp nor a Linux kernel.

mod bad;
mod config;
mod endpoint;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use config::{Family, Session, Tunnels};
use endpoint::Endpoint;
use l2xdp_tests::daemon::Daemon;
use l2xdp_tests::netns::Namespace;
use libtest_mimic::Trial;

use crate::bench::{self, Bench, Kind};
use crate::differences::Differences;
use crate::frames::{self, Named, Send as _, carried, is_ours, same};
use crate::packet::PacketSocket;
use crate::slow;

/// All header formats at once as devices and as VLANs of a port, one at a time over a whole port, sequence numbers, and
/// what is wrong.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for xdp_mode in ["auto", "tc"] {
        let name = |what: &str| format!("foreign/{what}/{xdp_mode}");
        trials.push(bench::trial(name("netdev"), Kind::Silent, move |bench| netdevs(bench, xdp_mode)));
        trials.push(bench::trial(name("port-vlan"), Kind::Silent, move |bench| vlans(bench, xdp_mode)));
        for family in Family::BOTH {
            let port = name(&format!("port/{family}"));
            trials.push(bench::trial(port, Kind::Silent, move |bench| whole_port(bench, xdp_mode, family)));
            let numbers = name(&format!("peer-switches-numbers/{family}"));
            trials
                .push(bench::trial(numbers, Kind::Silent, move |bench| numbers_on(bench, xdp_mode, family)));
            let bad = name(&format!("bad-messages/{family}"));
            trials.push(bench::trial(bad, Kind::Silent, move |bench| bad::refused(bench, xdp_mode, family)));
        }
    }
    trials
}

/// Every pair of cookie lengths, with and without the sublayer, over both IP versions.
fn all_formats() -> Vec<Session> {
    let mut sessions = Vec::new();
    for family in Family::BOTH {
        for (cookie, peer_cookie) in [0, 4, 8].into_iter().flat_map(|one| [0, 4, 8].map(|two| (one, two))) {
            for sublayer in [false, true] {
                sessions.push(Session {
                    number: sessions.len() as u16,
                    family,
                    cookie,
                    peer_cookie,
                    sublayer,
                });
            }
        }
    }
    sessions
}

/// Starts the one gateway.
fn start(
    bench: &Bench,
    xdp_mode: &str,
    sessions: &[Session],
    attach: fn(&Session) -> String,
) -> Result<Daemon> {
    let lab = &bench.lab;
    lab.remove_bridges();
    let files = lab.work.path().join(lab.tun01.name());
    let config = Tunnels { sessions, attach }.config();
    Daemon::start(&lab.tun01, &bench.loader, &config, &["--xdp-mode", xdp_mode], &files)
}

fn netdevs(bench: &Bench, xdp_mode: &str) -> Result<()> {
    let sessions = all_formats();
    let daemon = start(bench, xdp_mode, &sessions, |session| format!("netdev = \"n{}\"", session.number))?;
    for session in &sessions {
        let device = PacketSocket::open(&bench.lab.tun01, &format!("n{}", session.number))?;
        both_ways(&bench.lab.tun02, session, &device, &some(session)).with_context(|| session.to_string())?;
    }
    daemon.stop()
}

fn vlans(bench: &Bench, xdp_mode: &str) -> Result<()> {
    let sessions = all_formats();
    let attach = |session: &Session| format!("port = \"eth1\"\nvlan = {}", session.vlan());
    let daemon = start(bench, xdp_mode, &sessions, attach)?;
    let host = PacketSocket::open(&bench.lab.host01, "eth0")?;
    for session in &sessions {
        let endpoint = Endpoint::open(&bench.lab.tun02, session)?;
        for frame in some(session) {
            let tagged = frame.tagged(session.vlan());
            if frames::survives_linux(&tagged.bytes) {
                there_and_back(&endpoint, &frame, &host, &tagged).with_context(|| session.to_string())?;
            }
        }
    }
    daemon.stop()
}

fn whole_port(bench: &Bench, xdp_mode: &str, family: Family) -> Result<()> {
    let session = Session { number: 0, family, cookie: 4, peer_cookie: 8, sublayer: family == Family::V4 };
    let daemon = start(bench, xdp_mode, &[session], |_| "port = \"eth1\"".to_owned())?;
    let host = PacketSocket::open(&bench.lab.host01, "eth0")?;
    let mut all = frames::varied();
    all.extend(frames::link_local());
    all.extend((14..=200).chain([session.max()]).map(frames::length));
    both_ways(&bench.lab.tun02, &session, &host, &all)?;
    // And once more as a host sees it: many at a time.
    let endpoint = Endpoint::open(&bench.lab.tun02, &session)?;
    for frame in &all[..20] {
        host.send(&frame.bytes)?;
    }
    for frame in &all[..20] {
        same(frame, &endpoint.receive()?)?;
    }
    carried(&endpoint, &host, &all)?;
    daemon.stop()
}

/// The peer begins to send sequence numbers, which takes the session to the slow path, and ceases to.
fn numbers_on(bench: &Bench, xdp_mode: &str, family: Family) -> Result<()> {
    let lab = &bench.lab;
    let session = Session { number: 5, family, cookie: 4, peer_cookie: 8, sublayer: true };
    let daemon = start(bench, xdp_mode, &[session], |_| "port = \"eth1\"".to_owned())?;
    let host = PacketSocket::open(&lab.host01, "eth0")?;
    let endpoint = Endpoint::open(&lab.tun02, &session)?;
    let frame = frames::length(200);
    let one = std::slice::from_ref(&frame);
    let (sent, received) = ([("tx_packets", 1), ("tx_bytes", 200)], [("rx_packets", 1), ("rx_bytes", 200)]);
    let mut counters = Differences::since(&daemon, &lab.tun01)?;
    there_and_back(&endpoint, &frame, &host, &frame)?;
    counters.are(&[sent, received].concat())?;

    let trouble = || Ok::<_, anyhow::Error>(daemon.show_json(&lab.tun01)?["sessions"][0]["trouble"].clone());
    for ns in 700..704 {
        endpoint.send_numbered(ns, &frame.bytes)?;
        arrives(&frame, &host)?;
        counters.are(&slow::received("reason.sequenced", 1, one))?;
        ensure!(trouble()? == "on the slow path: sequence numbers are on", "it shows {}", trouble()?);
        host.send(&frame.bytes)?;
        let (ours, returned) = endpoint.receive_numbered()?;
        ensure!(ours == Some(ns - 700), "the frame came back with the number {ours:?}");
        same(&frame, &returned)?;
        counters.are(&slow::sent("reason.seq_tx", one))?;
    }

    endpoint.send(&frame.bytes)?;
    arrives(&frame, &host)?;
    counters.are(&slow::received("reason.sequenced", 1, one))?;
    ensure!(trouble()?.is_null(), "it shows {}", trouble()?);
    there_and_back(&endpoint, &frame, &host, &frame)?;
    counters.are(&[sent, received].concat())?;
    daemon.stop()
}

fn arrives(frame: &Named, at: &PacketSocket) -> Result<()> {
    let received = at.receive(Duration::from_secs(1), is_ours)?;
    same(frame, &received.with_context(|| format!("{} did not arrive", frame.name))?)
}

fn some(session: &Session) -> Vec<Named> {
    let all = frames::varied();
    let some = all.iter().step_by(9).cloned();
    some.chain([14, 60, session.max()].map(frames::length)).collect()
}

fn both_ways(namespace: &Namespace, session: &Session, near: &PacketSocket, frames: &[Named]) -> Result<()> {
    let endpoint = Endpoint::open(namespace, session)?;
    frames.iter().try_for_each(|frame| there_and_back(&endpoint, frame, near, frame))
}

/// A frame in a message from the endpoint comes out as the gateway's LAN is to see it, and the other way round.
fn there_and_back(endpoint: &Endpoint, inner: &Named, near: &PacketSocket, seen: &Named) -> Result<()> {
    endpoint.send(&inner.bytes)?;
    arrives(seen, near)?;
    near.send(&seen.bytes)?;
    let returned = endpoint.receive().with_context(|| format!("{} did not come back", inner.name))?;
    ensure!(is_ours(&returned), "the endpoint got a frame of somebody else's");
    same(inner, &returned)
}
