//! How a daemon begins and ends, and what it survives in between.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::command;
use l2xdp_tests::daemon::{Daemon, Gateways};
use l2xdp_tests::interrupt;
use l2xdp_tests::netns::Namespace;
use l2xdp_tests::process::Process;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::{Attach, Side, Underlay, Wire};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::bench::{self, Bench, Kind};
use crate::traffic::{Pair, ping, transfer, until_answered};
use l2xdp_tests::snapshot::Snapshot;

const AT_START: Duration = Duration::from_secs(4);
const SOON: Duration = Duration::from_secs(2);

/// Ends of every kind, and interfaces that go and come.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, attach) in [("netdev", Attach::Netdev), ("port", Attach::Port)] {
        for xdp_mode in ["auto", "native", "tc"] {
            let wire = Wire { xdp_mode, underlay: Underlay::V6, ..Wire::new(attach) };
            let ends = format!("life/undone-at-the-end/{name}/{xdp_mode}");
            trials.push(bench::trial(ends, Kind::Own, move |bench| undone(bench, &wire)));
        }
        let wire = Wire::new(attach);
        let named = |what: &str| format!("life/{what}/{name}");
        trials.push(bench::trial(named("killed"), Kind::Own, move |bench| killed(bench, &wire)));
        trials.push(bench::trial(named("ended-under-traffic"), Kind::Talking, move |bench| {
            flooded(bench, &wire)
        }));
        trials.push(bench::trial(named("from-outside"), Kind::Own, move |bench| from_outside(bench, &wire)));
        trials.push(bench::trial(named("wan-deleted"), Kind::Own, move |bench| wan_deleted(bench, &wire)));
    }
    trials.push(bench::trial("life/port-deleted", Kind::Own, port_deleted));
    trials.push(bench::trial("life/netdev-deleted", Kind::Own, netdev_deleted));
    trials
}

/// SIGTERM and SIGINT undo everything.
fn undone(bench: &Bench, wire: &Wire) -> Result<()> {
    let lab = &bench.lab;
    let before = untouched(lab, wire)?;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = start_one(bench, wire)?;
        ensure!(before.is_still_that_of(&lab.tun01).is_err(), "the snapshot does not see a running daemon");
        daemon.process().signal(signal)?;
        let status = daemon.process().await_end(SOON)?;
        ensure!(status.success(), "{signal} ended it with {status}: {}", daemon.log());
        before.is_still_that_of(&lab.tun01).with_context(|| format!("after {signal}"))?;
        // To forget it would lose what the kernel is just sending there.
        let next_hop = lab.tun01.run("ip -6 neigh show 2001:db8:1::1 dev eth0")?;
        ensure!(next_hop.contains("lladdr"), "the next hop was forgotten: {next_hop}");
    }
    Ok(())
}

/// `--netns` does from outside what else is done inside.
fn from_outside(bench: &Bench, wire: &Wire) -> Result<()> {
    let lab = &bench.lab;
    let before = untouched(lab, wire)?;
    let outside = |arguments: &[&str]| {
        let mut command = Command::new(&bench.loader);
        command.args(["--netns", lab.tun01.name()]).args(arguments);
        command
    };
    let file = lab.work.file("outside.toml");
    fs::write(&file, wire.config(Side::One))?;
    let file = file.to_string_lossy();
    let checked = command::run(&mut outside(&["check", &file]), SOON)?;
    ensure!(checked.contains("tunnels 1, sessions 1"), "it says {checked}");

    let log = lab.work.file("outside.log");
    let mut one = Process::start(&mut outside(&["run", "--config", &file]), &log)?;
    let files = lab.work.path().join(lab.tun02.name());
    let two = Daemon::start(&lab.tun02, &bench.loader, &wire.config(Side::Two), &[], &files)?;
    one.await_sign("ready", AT_START)?;
    let pair = Pair::v4(lab, Side::One)?;
    until_answered(pair, AT_START)?;
    transfer(pair, 1 << 20)?;
    // By the slow path.
    ping(pair, 1500 - wire.overhead() - 14 + 1)?;
    let outer = command::run(&mut outside(&["show", "--json"]), SOON)?;
    let inner = command::run(lab.tun01.command(&bench.loader).args(["show", "--json"]), SOON)?;
    let [outer, inner]: [Value; 2] = [serde_json::from_str(&outer)?, serde_json::from_str(&inner)?];
    ensure!(outer["attached"] == inner["attached"], "{outer} and {inner} are of two daemons");
    ensure!(outer["sessions"][0]["trouble"].is_null(), "{outer}");
    let refused = command::finish(Command::new(&bench.loader).args(["--netns", "nowhere", "show"]), SOON)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("--netns nowhere"), "it says {said}");

    ensure!(one.stop()?.success(), "{}", one.said());
    two.stop()?;
    before.is_still_that_of(&lab.tun01)
}

/// The next run takes over what a killed one left, and undoes that too.
fn killed(bench: &Bench, wire: &Wire) -> Result<()> {
    let lab = &bench.lab;
    let before = untouched(lab, wire)?;
    let mut gateways = Gateways::start(lab, &bench.loader, wire)?;
    until_answered(Pair::v4(lab, Side::One)?, AT_START)?;
    gateways.daemon_mut(Side::One).process().signal(Signal::SIGKILL)?;
    gateways.daemon_mut(Side::One).process().await_end(SOON)?;

    let again = start_one(bench, wire)?;
    until_answered(Pair::v4(lab, Side::One)?, AT_START).context("after the restart")?;
    again.stop()?;
    before.is_still_that_of(&lab.tun01)
}

/// Sessions go while frames come in both ways.
fn flooded(bench: &Bench, wire: &Wire) -> Result<()> {
    let lab = &bench.lab;
    let gateways = lab.start(&bench.loader, wire)?;
    until_answered(Pair::v4(lab, Side::One)?, AT_START)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let floods = Side::BOTH.map(|side| {
            let over = &over;
            scope.spawn(move || flood(lab, side, over))
        });
        thread::sleep(Duration::from_millis(200));
        let stopped = gateways.stop();
        over.store(true, Ordering::Relaxed);
        floods
            .into_iter()
            .try_for_each(|flood| flood.join().map_err(|_| anyhow::anyhow!("a flood panicked"))?)?;
        stopped
    })
}

fn flood(lab: &Lab, from: Side, over: &AtomicBool) -> Result<()> {
    let address = Lab::lan_address(from.other());
    let socket = lab.host(from).enter(|| Ok(std::net::UdpSocket::bind("0.0.0.0:0")?))?;
    while !over.load(Ordering::Relaxed) {
        // What comes back as an ICMP error is of no interest.
        let _ = socket.send_to(&[0; 400], (address, 40002));
    }
    Ok(())
}

/// The WAN device goes, which is told; it comes back with its addresses and routes, and frames flow.
fn wan_deleted(bench: &Bench, wire: &Wire) -> Result<()> {
    let lab = &bench.lab;
    let mut gateways = lab.start(&bench.loader, wire)?;
    until_answered(Pair::v4(lab, Side::One)?, AT_START)?;
    lab.tun01.run("ip link del eth0")?;
    let daemon = gateways.daemon_mut(Side::One);
    in_trouble(daemon, &lab.tun01, "no route")?;

    lab.tun01.run_all([
        format!("ip link add eth0 type veth peer name eth1 netns {}", lab.inet.name()).as_str(),
        "ethtool -K eth0 tx off txvlan off gro on",
        "ip addr add 1.1.1.2/24 dev eth0",
        "ip link set eth0 up",
    ])?;
    lab.inet.run_all([
        "ip addr add 1.1.1.1/24 dev eth1",
        "ip link set eth1 up",
        "ethtool -K eth1 tx off gro on",
    ])?;
    lab.tun01.run("ip route add default via 1.1.1.1")?;
    until_answered(Pair::v4(lab, Side::One)?, SOON).context("over the new WAN device")?;
    gateways.stop()
}

/// The port goes, which is told; another of its name takes its place.
fn port_deleted(bench: &Bench) -> Result<()> {
    let lab = &bench.lab;
    let mut gateways = lab.start(&bench.loader, &Wire::new(Attach::Port))?;
    until_answered(Pair::v4(lab, Side::One)?, AT_START)?;
    lab.tun01.run("ip link del eth1")?;
    in_trouble(gateways.daemon_mut(Side::One), &lab.tun01, "eth1 is gone")?;

    lab.tun01.run_all([
        format!("ip link add eth1 type veth peer name eth0 netns {}", lab.host01.name()).as_str(),
        "ethtool -K eth1 tx off txvlan off gro on",
        "ip link set eth1 up",
    ])?;
    lab.host01.run_all([
        "ethtool -K eth0 tx off txvlan off gro on",
        "ip addr add 192.168.0.1/24 dev eth0",
        "ip link set eth0 up",
    ])?;
    until_answered(Pair::v4(lab, Side::One)?, SOON).context("over the new port")?;
    gateways.stop()
}

/// Somebody deletes the pseudowire's device; the same configuration, read again, makes another.
fn netdev_deleted(bench: &Bench) -> Result<()> {
    let lab = &bench.lab;
    let wire = Wire::new(Attach::Netdev);
    let mut gateways = lab.start(&bench.loader, &wire)?;
    until_answered(Pair::v4(lab, Side::One)?, AT_START)?;
    lab.tun01.run("ip link del l2x0")?;
    in_trouble(gateways.daemon_mut(Side::One), &lab.tun01, "l2x0 is gone")?;
    let daemon = gateways.daemon_mut(Side::One);
    daemon.reload(&wire.config(Side::One), "reloaded")?;
    until_answered(Pair::v4(lab, Side::One)?, SOON).context("over the new device")?;
    gateways.stop()
}

/// The daemon runs on, and names the trouble in its log and in what it shows.
fn in_trouble(daemon: &mut Daemon, namespace: &Namespace, trouble: &str) -> Result<()> {
    let told = interrupt::poll(SOON, || {
        let shown = daemon.show_json(namespace)?["sessions"][0]["trouble"].to_string();
        Ok((shown.contains(trouble) && daemon.log().contains(trouble)).then_some(()))
    })?;
    let shown = daemon.show(namespace)?;
    ensure!(told.is_some(), "“{trouble}” is not in both show and log: {shown}\n{}", daemon.log());
    ensure!(daemon.process().is_running(), "it has ended: {}", daemon.log());
    Ok(())
}

/// A gateway on which l2xdp has never run, with the bridges it needs.
fn untouched(lab: &Lab, wire: &Wire) -> Result<Snapshot> {
    if wire.attach == Attach::Netdev {
        Side::BOTH.into_iter().try_for_each(|side| lab.add_bridge(side))?;
    }
    Snapshot::of(&lab.tun01)
}

fn start_one(bench: &Bench, wire: &Wire) -> Result<Daemon> {
    let tun01 = &bench.lab.tun01;
    let files = bench.lab.work.path().join(tun01.name());
    Daemon::start(tun01, &bench.loader, &wire.config(Side::One), &["--xdp-mode", wire.xdp_mode], &files)
}
