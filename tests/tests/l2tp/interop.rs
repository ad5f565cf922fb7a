//! The kernel's driver at tun02, l2xdp at tun01, a bridge at both: hosts talk as over a cable.

use std::process;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::topology::Lab;
use l2xdp_tests::traffic::{Pair, datagrams, ping, transfer, until_answered};
use l2xdp_tests::wire::{Attach, Cookie, L2Spec, Side, Underlay, Wire};
use l2xdp_tests::{interrupt, topology};
use libtest_mimic::{Failed, Trial};

use crate::arm::PREFIX;
use crate::carrier::Carrier;

/// One lab for all, built when it is needed.
static LAB: Mutex<Option<Lab>> = Mutex::new(None);

const BYTES: usize = 1 << 20;
const VLAN: &str = "eth0.100";

/// The plainest session and the one with everything, over both IP versions.
pub fn trials(carrier: Carrier) -> Vec<Trial> {
    let mut trials = Vec::new();
    for underlay in [Underlay::V4, Underlay::V6] {
        for (cookie, l2spec) in [(Cookie::None, L2Spec::None), (Cookie::Eight, L2Spec::Default)] {
            let wire = Wire { underlay, cookie, l2spec, ..Wire::new(Attach::Netdev) };
            let (ip, bytes) = (if underlay == Underlay::V4 { 4 } else { 6 }, cookie.bytes());
            let name = format!("{}/interop/ipv{ip}/cookie{bytes}/{}", carrier.name(), l2spec.name());
            trials.push(trial(name, move |lab| talks(lab, carrier, &wire)));
        }
    }
    trials
}

/// Takes the lab down.
pub fn take_down() {
    *LAB.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// A test in the lab, which goes if it failed.
fn trial(name: String, test: impl FnOnce(&Lab) -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let mut lab = LAB.lock().unwrap_or_else(PoisonError::into_inner);
        let result = built(&mut lab).and_then(test);
        if result.is_err() {
            *lab = None;
        }
        result.map_err(|error| Failed::from(format!("{error:#}")))
    })
}

fn built(lab: &mut Option<Lab>) -> Result<&Lab> {
    interrupt::check()?;
    if lab.is_none() {
        topology::remove_leftovers(PREFIX)?;
        *lab = Some(Lab::build(&format!("{PREFIX}{}i", process::id()))?);
    }
    lab.as_ref().context("the lab was just built")
}

fn talks(lab: &Lab, carrier: Carrier, wire: &Wire) -> Result<()> {
    lab.remove_bridges();
    Side::BOTH.into_iter().try_for_each(|side| lab.add_bridge(side))?;
    lab.tun02.run_all(wire.ip_l2tp(Side::Two).iter().map(String::as_str))?;
    if carrier == Carrier::Accelerated {
        lab.tun01.run_all(wire.ip_l2tp(Side::One).iter().map(String::as_str))?;
    }
    let daemon = carrier.start_daemon(lab, &wire.config(Side::One), &[])?.context("no l2xdp")?;
    let talked = talk(lab, wire).with_context(|| daemon.log());
    daemon.stop()?;
    for side in Side::BOTH {
        // l2xdp takes what it made away itself.
        let _ = lab.gateway(side).run(&format!("ip l2tp del tunnel tunnel_id {}", side.tunnel_id()));
    }
    talked
}

fn talk(lab: &Lab, wire: &Wire) -> Result<()> {
    let max = 1500 - wire.overhead() - 14;
    for side in Side::BOTH {
        let (v4, v6) = (Pair::v4(lab, side)?, Pair::v6(lab, side)?);
        // Nobody knows anybody: ARP and neighbour discovery go first.
        v4.from.run("ip neigh flush dev eth0")?;
        for pair in [v4, v6] {
            until_answered(pair, Duration::from_secs(5))?;
            ping(pair, 576)?;
            ping(pair, max)?;
        }
        let neighbours = v4.from.run("ip neigh show dev eth0 nud reachable")?;
        ensure!(
            neighbours.contains(Lab::lan_address(side.other())),
            "ARP has not found its host: {neighbours}"
        );
        datagrams(v4)?;
        transfer(v4, BYTES)?;
        transfer(v6, BYTES)?;
    }
    in_a_vlan(lab)
}

/// The same over tagged frames.
fn in_a_vlan(lab: &Lab) -> Result<()> {
    for side in Side::BOTH {
        lab.host(side).run_all([
            format!("ip link add link eth0 name {VLAN} type vlan id 100").as_str(),
            &format!("ip addr add {}/24 dev {VLAN}", vlan_address(side)),
            &format!("ip link set {VLAN} up"),
        ])?;
    }
    let pair = Pair::of(lab, Side::One, vlan_address)?;
    let talked = until_answered(pair, Duration::from_secs(5)).and_then(|_| transfer(pair, BYTES));
    for side in Side::BOTH {
        lab.host(side).run(&format!("ip link del {VLAN}"))?;
    }
    talked
}

fn vlan_address(side: Side) -> &'static str {
    match side {
        Side::One => "192.168.100.1",
        Side::Two => "192.168.100.2",
    }
}
