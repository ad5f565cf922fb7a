//! `l2xdp accelerate` follows what others do to the kernel's sessions and devices.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use l2xdp_common::pseudowire::Seq;
use l2xdp_tests::bpf;
use l2xdp_tests::daemon::Daemon;
use l2xdp_tests::netns::Namespace;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::Side;
use libtest_mimic::Trial;

use crate::bench::{Bench, end, is_fast, is_kept, session, status, trial};
use crate::operator::{self, Line, with_l2tp};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("accelerate/sessions-come-and-go", come_and_go),
        trial("accelerate/devices-change", devices_change),
        trial("accelerate/chosen-tunnel", chosen_tunnel),
        trial("accelerate/chosen-wan", chosen_wan),
    ]
}

const SECOND: Duration = Duration::from_secs(1);
const SEQUENCED: Seq = Seq { send: true, recv: true };

/// Frames get through, and are the fast path's both ways.
pub fn is_carried_fast(lab: &Lab, line: Line) -> Result<()> {
    let id = line.id(Side::One);
    is_fast(&lab.tun01, id)?;
    let before = carried(lab, id)?;
    line.works(lab)?;
    let after = carried(lab, id)?;
    for (name, (before, after)) in ["tx", "rx"].into_iter().zip(before.into_iter().zip(after)) {
        ensure!(after >= before + 3, "the fast path has not carried line {}'s {name}", line.number);
    }
    Ok(())
}

fn carried(lab: &Lab, id: u32) -> Result<[u64; 2]> {
    let fast = session(&lab.tun01, id)?.fast;
    let count = |name| fast.get(name).and_then(serde_json::Value::as_u64).context("no such counter");
    Ok([count("tx_packets")?, count("rx_packets")?])
}

/// Within a second, and without being asked, l2xdp has taken a session up or let it go.
fn follows(gateway: &Namespace, line: Line, taken: bool) -> Result<()> {
    let wire = format!("l2xw{}", line.id(Side::One));
    let start = Instant::now();
    while bpf::index(gateway, &wire).is_ok() != taken {
        ensure!(start.elapsed() < SECOND, "line {} is not {taken} within {SECOND:?}", line.number);
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Sessions and tunnels appear, change and vanish, by `ip l2tp` and by netlink.
fn come_and_go(bench: &Bench) -> Result<()> {
    let (lab, gateway) = (&bench.lab, &bench.lab.tun01);
    let [first, second] = [0, 1].map(Line::new);
    operator::add_tunnel(lab, 0)?;
    first.add(lab, "")?;
    let mut daemon = bench.accelerate(Side::One, &["--all"])?;
    is_carried_fast(lab, first)?;

    second.add(lab, "cookie 01020304 peer_cookie 01020304 l2spec_type none")?;
    follows(gateway, second, true)?;
    is_carried_fast(lab, second)?;
    second.delete(lab, Side::One)?;
    follows(gateway, second, false)?;
    ensure!(session(gateway, second.id(Side::One)).is_err(), "a deleted session is still shown");
    second.delete(lab, Side::Two)?;
    is_carried_fast(lab, first)?;

    second.add(lab, "")?;
    follows(gateway, second, true)?;
    modify(lab, second, SEQUENCED)?;
    follows(gateway, second, false)?;
    is_kept(gateway, second.id(Side::One), "sequence numbers are on")?;
    second.works(lab).context("sequenced")?;
    modify(lab, second, Seq::default())?;
    follows(gateway, second, true)?;
    is_carried_fast(lab, second)?;

    for side in Side::BOTH {
        lab.gateway(side).run(&format!("ip l2tp del tunnel tunnel_id {}", side.tunnel_id()))?;
    }
    follows(gateway, first, false)?;
    follows(gateway, second, false)?;
    let shown = status(gateway)?;
    ensure!(shown.tunnels.is_empty() && shown.sessions.is_empty(), "{shown}");
    ensure!(daemon.process().is_running(), "it ended with the last tunnel: {}", daemon.log());

    operator::add_tunnel(lab, 0)?;
    first.add(lab, "")?;
    follows(gateway, first, true)?;
    is_carried_fast(lab, first)?;
    end(daemon)
}

/// While nothing is sent: what one end sends switches the other on and off (`lns_mode` 0).
fn modify(lab: &Lab, line: Line, seq: Seq) -> Result<()> {
    for side in [Side::Two, Side::One] {
        let (tunnel, session) = (side.tunnel_id(), line.id(side));
        with_l2tp(lab.gateway(side), async move |l2tp| l2tp.modify_session(tunnel, session, seq).await)?;
    }
    Ok(())
}

/// A session's device is renamed, put into a bridge and taken out of it, goes down and up, and has another MTU. One was
/// renamed before.
fn devices_change(bench: &Bench) -> Result<()> {
    let (lab, gateway) = (&bench.lab, &bench.lab.tun01);
    let [line, before] = [0, 1].map(Line::new);
    operator::add_tunnel(lab, 0)?;
    line.add(lab, "")?;
    before.add(lab, "")?;
    gateway.run_all(["ip link set p1 down", "ip link set p1 name before", "ip link set before up"])?;
    let daemon = bench.accelerate(Side::One, &[])?;
    is_carried_fast(lab, line)?;
    is_carried_fast(lab, before).context("renamed before")?;

    gateway.run_all(["ip link set p0 down", "ip link set p0 name else", "ip link set else up"])?;
    is_carried_fast(lab, line).context("renamed")?;
    let shown = session(gateway, line.id(Side::One))?.interface;
    ensure!(shown == "else", "it is shown as {shown}");

    gateway.run_all([
        "ip link add br0 type bridge stp_state 0 mcast_snooping 0",
        "ip addr del 10.0.0.1/24 dev else",
        "ip link set else master br0",
        "ip addr add 10.0.0.1/24 dev br0",
        "ip link set br0 up",
    ])?;
    is_carried_fast(lab, line).context("in a bridge")?;
    gateway.run_all(["ip link del br0", "ip addr add 10.0.0.1/24 dev else"])?;
    is_carried_fast(lab, line).context("out of the bridge")?;

    gateway.run_all(["ip link set else down", "ip link set else up"])?;
    is_carried_fast(lab, line).context("down and up")?;
    gateway.run("ip link set else mtu 1300")?;
    is_carried_fast(lab, line).context("with another MTU")?;
    let mtu = gateway.run("ip link show else")?;
    ensure!(mtu.contains("mtu 1300"), "its MTU was changed: {mtu}");
    end(daemon)
}

/// Of two tunnels, one is asked for.
fn chosen_tunnel(bench: &Bench) -> Result<()> {
    let (lab, gateway) = (&bench.lab, &bench.lab.tun01);
    let [chosen, other] = [Line::new(0), Line { number: 1, offset: 100 }];
    operator::add_tunnel(lab, 0)?;
    operator::add_tunnel(lab, 100)?;
    chosen.add(lab, "")?;
    other.add(lab, "")?;
    let daemon = bench.accelerate(Side::One, &["--tunnel", "1000"])?;
    is_carried_fast(lab, chosen)?;
    other.works(lab)?;
    let shown = status(gateway)?;
    let sessions: Vec<_> = shown.sessions.iter().map(|session| session.session_id).collect();
    ensure!(sessions == [chosen.id(Side::One)] && shown.tunnels.len() == 1, "{shown}");
    let hooked = shown.attached.iter().any(|attached| attached.starts_with("p1"));
    ensure!(!hooked, "the other tunnel's session has programs: {:?}", shown.attached);
    end(daemon)
}

/// Messages come in on the devices that are named, and on no others.
fn chosen_wan(bench: &Bench) -> Result<()> {
    let (lab, gateway) = (&bench.lab, &bench.lab.tun01);
    let line = Line::new(0);
    operator::add_tunnel(lab, 0)?;
    line.add(lab, "")?;
    gateway.run_all(["ip link add other type dummy", "ip link set other up"])?;
    let on = |daemon: Daemon, wans: &[&str]| {
        let attached = status(gateway)?.attached;
        for device in ["eth0", "other"] {
            let hooked = attached.iter().any(|line| line.starts_with(&format!("{device}: ")));
            ensure!(hooked == wans.contains(&device), "asked for {wans:?}, attached: {attached:?}");
        }
        line.works(lab)?;
        end(daemon)
    };
    on(bench.accelerate(Side::One, &["--wan", "other"])?, &["other"])?;
    on(bench.accelerate(Side::One, &["--wan", "other", "--wan", "eth0"])?, &["eth0", "other"])?;
    on(bench.accelerate(Side::One, &[])?, &["eth0"])?;
    gateway.run("ip link del other")?;
    Ok(())
}
