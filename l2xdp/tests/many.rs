//! What every turn of the loader works out takes time in proportion to the sessions: nothing is searched among all of them for
//! each of them.

use l2xdp::config::{Backend, Config};
use l2xdp::devices;
use l2xdp::links::Links;
use l2xdp::observe::{Link, Neighbour, Observed, Route};
use l2xdp::plan::{self, Plan, Wish, XdpMode};
use l2xdp::reconcile::{Made, Step, desired, steps};
use l2xdp::slots::Slots;
use l2xdp::{adopt, l2tp};
use l2xdp_common::pseudowire::{L2Spec, Mss};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::{Duration, Instant};

const SESSIONS: u32 = 20_000;
const TUNNEL: u32 = 1;
const WAN: u32 = 1;
const BRIDGE: u32 = 2;

/// Many times what a debug build takes, and a small part of what it takes to search all devices or sessions for each.
const BOUND: Duration = Duration::from_secs(20);

fn within_bound<T>(work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    assert!(start.elapsed() < BOUND, "{:?} for {SESSIONS} sessions", start.elapsed());
    result
}

/// Sessions with a device each on one bridge, and a cookie that begins with this digit.
fn config(backend: Backend, cookie: u8) -> Config {
    let mut text = format!(
        "[[tunnel]]\ntunnel_id = {TUNNEL}\npeer_tunnel_id = 2\nlocal = '192.0.2.1'\nremote = '192.0.2.2'\n\
         udp_sport = 6000\nudp_dport = 5000\n"
    );
    for id in 1..=SESSIONS {
        let keys = format!("session_id = {id}\npeer_session_id = {id}\ncookie = '{cookie}{id:07}'");
        writeln!(text, "[[tunnel.session]]\n{keys}\nnetdev = '{}'\nbridge = 'br0'", name(id)).unwrap();
    }
    let mut config = Config::parse("test", &text).unwrap();
    config.tunnels[0].backend = backend;
    config
}

fn name(id: u32) -> String {
    format!("pw{id}")
}

fn link(ifindex: u32, name: String) -> Link {
    Link { ifindex, name, mac: Some([2, 0, 0, 0, 0, 1]), mtu: 1500, running: true, ..Link::default() }
}

/// Two devices of each session, of which the visible ones are ports of a bridge, which is the way to the peer's device.
fn devices(veth: bool) -> Links {
    let wan = Link { peer: Some(BRIDGE), ..link(WAN, "eth0.5".to_owned()) };
    let bridge = Link { bridge: true, ..link(BRIDGE, "br0".to_owned()) };
    let of_session = |id: u32| {
        let alias = Some(devices::alias(id, !veth));
        let visible = Link { veth, alias: alias.clone(), ..link(2 * id + 1, name(id)) };
        let hidden = Link { veth: true, alias, ..link(2 * id + 2, devices::wire_name(id)) };
        [Link { controller: Some(BRIDGE), ..visible }, hidden]
    };
    let links = [wan, bridge].into_iter().chain((1..=SESSIONS).flat_map(of_session));
    links.map(|link| (link.ifindex, link)).collect()
}

fn observed(config: &Config) -> Observed {
    let tunnel = &config.tunnels[0];
    let kernel = tunnel.backend == Backend::Kernel;
    let mut observed = Observed { links: devices(!kernel), ..Observed::default() };
    let route = Route { ifindex: WAN, gateway: None, mtu: None, local: false, ttl: 64 };
    observed.routes.insert(plan::query(tunnel), Ok(route));
    let neighbour = Neighbour { mac: Some([2, 0, 0, 0, 0, 2]), managed: true, ..Neighbour::default() };
    observed.neighbours.insert((WAN, tunnel.remote), neighbour);
    if kernel {
        let desired = desired(config, &observed);
        observed.l2tp.tunnels = desired.tunnels;
        for (key, (session, _)) in desired.sessions {
            let session = l2tp::KernelSession { l2spec: Some(L2Spec::Default), ..session };
            observed.l2tp.sessions.insert(key, session);
            observed.kernel_devices.insert(key, 2 * key.1 + 1);
        }
    }
    observed
}

fn plan_of(config: &Config, observed: &Observed, made: &Made) -> Plan {
    let mut slots = Slots::new(SESSIONS);
    slots.follow(&(1..=SESSIONS).collect());
    let wish = Wish { config, mode: XdpMode::Auto, wan: &[], made, slots: &slots };
    plan::plan(&wish, observed)
}

#[test]
fn a_turn_for_standalone_sessions() {
    let config = config(Backend::Standalone, 0);
    let observed = observed(&config);
    let mut made = Made::default();
    for device in desired(&config, &observed).devices.into_values() {
        made.note(&Step::CreateDevice(device));
    }
    within_bound(|| made.forget_gone(&observed));
    assert_eq!(made.devices.len() as u32, SESSIONS);
    assert_eq!(within_bound(|| plan::outputs(&config, &observed)).len() as u32, SESSIONS + 1);
    let plan = within_bound(|| plan_of(&config, &observed, &made));
    assert_eq!((plan.tx.len(), plan.slow.len()), (plan.rx.len(), SESSIONS as usize));
    assert!(plan.trouble.values().all(Option::is_none));
}

#[test]
fn a_turn_for_the_kernels_sessions() {
    let config = config(Backend::Kernel, 0);
    let observed = observed(&config);
    let made = within_bound(|| Made::left_behind(&observed));
    assert_eq!((made.tunnels.len(), made.sessions.len()), (1, SESSIONS as usize));
    assert_eq!(within_bound(|| plan::deliveries(&config, XdpMode::Auto, &observed)).len() as u32, SESSIONS);
    let plan = within_bound(|| plan_of(&config, &observed, &made));
    assert_eq!(plan.rx.len() as u32, SESSIONS);
    let adopted = within_bound(|| adopt::adopt(&observed, &BTreeSet::new(), Mss::Auto));
    assert_eq!((adopted.config.tunnels[0].sessions.len() as u32, adopted.kept.len()), (SESSIONS, 0));
}

#[test]
fn a_configuration_in_which_every_session_is_another() {
    let old = config(Backend::Kernel, 0);
    let observed = observed(&old);
    let made = Made::left_behind(&observed);
    let new = config(Backend::Kernel, 1);
    let steps = within_bound(|| steps(&desired(&new, &observed), &made, &observed)).unwrap();
    let (gone, come) = steps.split_at(SESSIONS as usize);
    assert!(gone.iter().all(|step| matches!(step, Step::DeleteSession(..))));
    assert!(come.len() == gone.len() && come.iter().all(|step| matches!(step, Step::CreateSession(..))));
}
