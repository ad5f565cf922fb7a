//! What changes on the way to the peer: frames flow again within seconds, and nothing is restarted.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::daemon::Gateways;
use l2xdp_tests::interrupt;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::{Attach, Side, Underlay, Wire};
use libtest_mimic::Trial;

use crate::bench::{self, Bench, Kind};
use crate::differences::Differences;
use crate::traffic::{PINGS, Pair, Syns, ping, transfer, until_answered};
use l2xdp_tests::snapshot::Snapshot;

const AT_START: Duration = Duration::from_secs(4);
const SOON: Duration = Duration::from_secs(2);

/// What happens at the gateway or at its router while a pseudowire is up.
type Change = fn(&Lab) -> Result<()>;

/// Changes that frames must survive, and those that have more to them.
pub fn trials() -> Vec<Trial> {
    let changes: [(&str, Underlay, Change); 6] = [
        ("next-hop-mac/ipv4", Underlay::V4, next_hop_mac),
        ("next-hop-mac/ipv6", Underlay::V6, next_hop_mac),
        ("route-to-other-device/ipv4", Underlay::V4, other_device),
        ("route-to-other-gateway/ipv4", Underlay::V4, other_gateway),
        ("carrier-lost-and-back/ipv4", Underlay::V4, carrier),
        ("own-link-down-and-up/ipv4", Underlay::V4, own_link),
    ];
    let mut trials = Vec::new();
    for (attach_name, attach) in [("netdev", Attach::Netdev), ("port", Attach::Port)] {
        for (name, underlay, change) in changes {
            let wire = Wire { underlay, ..Wire::new(attach) };
            let name = format!("following/{name}/{attach_name}");
            trials.push(bench::trial(name, Kind::Own, move |bench| survives(bench, &wire, change)));
        }
    }
    trials.push(bench::trial("following/wan-mtu/netdev", Kind::Own, |bench| mtu(bench, Attach::Netdev)));
    trials.push(bench::trial("following/wan-mtu/port", Kind::Own, |bench| mtu(bench, Attach::Port)));
    trials.push(bench::trial("following/late-router/ipv4", Kind::Own, |bench| {
        late_router(bench, Underlay::V4)
    }));
    trials.push(bench::trial("following/late-router/ipv6", Kind::Own, |bench| {
        late_router(bench, Underlay::V6)
    }));
    trials.push(bench::trial("following/late-route", Kind::Own, late_route));
    trials.push(bench::trial("following/renamed-netdev", Kind::Own, renamed));
    trials
}

fn survives(bench: &Bench, wire: &Wire, change: Change) -> Result<()> {
    let lab = &bench.lab;
    let gateways = lab.start(&bench.loader, wire)?;
    let pair = Pair::v4(lab, Side::One)?;
    until_answered(pair, AT_START)?;
    change(lab).context("the change itself")?;
    until_answered(pair, SOON).context("after the change")?;
    transfer(pair, 1 << 20).context("after the change")?;
    gateways.stop()
}

/// The router has another MAC, and says so.
fn next_hop_mac(lab: &Lab) -> Result<()> {
    lab.inet.set("ipv4/conf/eth1/arp_notify", "1")?;
    lab.inet.set("ipv6/conf/eth1/ndisc_notify", "1")?;
    lab.inet.run("ip link set eth1 address 02:00:00:00:00:77").map(drop)
}

/// Both ways lead over another pair of devices from now on.
fn other_device(lab: &Lab) -> Result<()> {
    lab.tun01.run_all([
        format!("ip link add eth2 type veth peer name eth3 netns {}", lab.inet.name()).as_str(),
        "ethtool -K eth2 tx off txvlan off gro on",
        "ip addr add 1.1.3.2/24 dev eth2",
        "ip link set eth2 up",
    ])?;
    lab.inet.run_all([
        "ethtool -K eth3 tx off txvlan off gro on",
        "ip addr add 1.1.3.1/24 dev eth3",
        "ip link set eth3 up",
        "ip route add 1.1.1.2/32 via 1.1.3.2 dev eth3",
    ])?;
    lab.tun01.run("ip route replace default via 1.1.3.1 dev eth2 src 1.1.1.2")?;
    // The old way must not be what works.
    lab.inet.set("ipv4/conf/eth1/forwarding", "0")
}

/// Another router on the same wire; the old one forwards nothing any more.
fn other_gateway(lab: &Lab) -> Result<()> {
    // Each address answers from its own device.
    lab.inet.set("ipv4/conf/all/arp_ignore", "1")?;
    lab.inet.run_all([
        "ip link add link eth1 name mv0 type macvlan mode bridge",
        "ip addr add 1.1.1.7/24 dev mv0",
    ])?;
    lab.inet.run("ip link set mv0 up")?;
    lab.tun01.run("ip route replace default via 1.1.1.7")?;
    lab.inet.set("ipv4/conf/eth1/forwarding", "0")
}

/// The router's end of the wire goes down for a while.
fn carrier(lab: &Lab) -> Result<()> {
    lab.inet.run("ip link set eth1 down")?;
    ensure!(
        until_answered(Pair::v4(lab, Side::One)?, Duration::from_millis(300)).is_err(),
        "the wire is down"
    );
    lab.inet.run("ip link set eth1 up").map(drop)
}

/// The gateway's own end goes down, and its routes with it.
fn own_link(lab: &Lab) -> Result<()> {
    lab.tun01.run("ip link set eth0 down")?;
    thread::sleep(Duration::from_millis(300));
    lab.tun01.run_all(["ip link set eth0 up", "ip route add default via 1.1.1.1"])
}

/// The WAN takes shorter packets: the device's MTU and the clamp follow, and back.
fn mtu(bench: &Bench, attach: Attach) -> Result<()> {
    let lab = &bench.lab;
    let wire = Wire::new(attach);
    let gateways = lab.start(&bench.loader, &wire)?;
    let pair = Pair::v4(lab, Side::One)?;
    until_answered(pair, AT_START)?;
    for path in [1400, 1500] {
        for side in Side::BOTH {
            lab.gateway(side).run(&format!("ip link set eth0 mtu {path}"))?;
        }
        let longest = path - wire.overhead() - 14;
        follows(lab, &gateways, attach, longest).with_context(|| format!("with an MTU of {path}"))?;
        by_which_path(lab, &gateways, pair, longest).with_context(|| format!("with an MTU of {path}"))?;
        let syns = Syns::watch(pair.from, pair.to, "eth0")?;
        transfer(pair, 1 << 20)?;
        syns.offered(longest - 40)?;
    }
    gateways.stop()
}

/// Packets of up to so many bytes go by the fast path, longer ones by the slow one.
fn by_which_path(lab: &Lab, gateways: &Gateways, pair: Pair<'_>, longest: u16) -> Result<()> {
    for (len, slow) in [(longest, 0), (longest + 1, PINGS)] {
        let near = Differences::since(gateways.daemon(Side::One), &lab.tun01)?;
        ping(pair, len)?;
        for name in ["slow.tx_packets", "slow.rx_packets"] {
            let moved = near.moved_by(name)?;
            ensure!(moved == slow, "{name} moved by {moved} with packets of {len} bytes, not by {slow}");
        }
    }
    Ok(())
}

fn follows(lab: &Lab, gateways: &Gateways, attach: Attach, longest: u16) -> Result<()> {
    for side in Side::BOTH {
        let (gateway, daemon) = (lab.gateway(side), gateways.daemon(side));
        let followed = interrupt::poll(SOON, || {
            let shown = daemon.show_json(gateway)?["sessions"][0]["max_frame"] == longest + 14;
            let device = attach != Attach::Netdev
                || gateway.run("ip link show l2x0")?.contains(&format!("mtu {longest} "));
            Ok((shown && device).then_some(()))
        })?;
        ensure!(
            followed.is_some(),
            "{} has not followed to {longest} bytes: {}",
            gateway.name(),
            daemon.show(gateway)?
        );
    }
    Ok(())
}

/// The router answers only a while after the start.
fn late_router(bench: &Bench, underlay: Underlay) -> Result<()> {
    let lab = &bench.lab;
    let address = if underlay == Underlay::V4 { "1.1.1.1/24" } else { "2001:db8:1::1/64" };
    lab.inet.run(&format!("ip addr del {address} dev eth1"))?;
    let gateways = lab.start(&bench.loader, &Wire { underlay, ..Wire::new(Attach::Netdev) })?;
    let pair = Pair::v4(lab, Side::One)?;
    ensure!(until_answered(pair, Duration::from_millis(1500)).is_err(), "there is no router yet");
    let shown = gateways.daemon(Side::One).show(&lab.tun01)?;
    ensure!(shown.contains("does not answer"), "show has no word of it: {shown}");
    lab.inet.run(&format!("ip addr add {address} dev eth1 nodad"))?;
    until_answered(pair, SOON).context("with the router there")?;
    gateways.stop()
}

/// There is a route only a while after the start.
fn late_route(bench: &Bench) -> Result<()> {
    let lab = &bench.lab;
    lab.tun01.run("ip route del default")?;
    let gateways = lab.start(&bench.loader, &Wire::new(Attach::Netdev))?;
    let shown = gateways.daemon(Side::One).show(&lab.tun01)?;
    ensure!(shown.contains("no route"), "show has no word of it: {shown}");
    lab.tun01.run("ip route add default via 1.1.1.1")?;
    until_answered(Pair::v4(lab, Side::One)?, SOON).context("with the route there")?;
    gateways.stop()
}

/// An administrator renames the pseudowire's device: it is served, follows the path, and goes at the end, as before.
fn renamed(bench: &Bench) -> Result<()> {
    let lab = &bench.lab;
    Side::BOTH.into_iter().try_for_each(|side| lab.add_bridge(side))?;
    let before = Snapshot::of(&lab.tun01)?;
    let wire = Wire::new(Attach::Netdev);
    let gateways = Gateways::start(lab, &bench.loader, &wire)?;
    let pair = Pair::v4(lab, Side::One)?;
    until_answered(pair, AT_START)?;
    lab.tun01.run_all(["ip link set l2x0 down", "ip link set l2x0 name pw7", "ip link set pw7 up"])?;
    until_answered(pair, SOON).context("under its new name")?;
    transfer(pair, 1 << 20).context("under its new name")?;
    let shown = gateways.daemon(Side::One).show_json(&lab.tun01)?;
    let session = &shown["sessions"][0];
    ensure!(session["interface"] == "pw7" && session["trouble"].is_null(), "it shows {session}");

    lab.tun01.run("ip link set eth0 mtu 1400")?;
    let longest = format!("mtu {} ", 1400 - wire.overhead() - 14);
    let followed =
        interrupt::poll(SOON, || Ok(lab.tun01.run("ip link show pw7")?.contains(&longest).then_some(())))?;
    ensure!(followed.is_some(), "it has not followed to {longest}: {}", lab.tun01.run("ip link show pw7")?);
    lab.tun01.run("ip link set eth0 mtu 1500")?;
    gateways.stop()?;
    before.is_still_that_of(&lab.tun01)
}
