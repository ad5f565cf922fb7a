//! The plan, from configurations and pictures of a kernel that never was.

use l2xdp::config::{Backend, Config};
use l2xdp::datapath::ProgramName;
use l2xdp::observe::{Link, Neighbour, Observed, Route};
use l2xdp::plan::{self, Hook, Place, Plan, Wish, XdpMode};
use l2xdp::reconcile::Made;
use l2xdp::slots::Slots;
use l2xdp_common::AttachKey;
use l2xdp_common::session::{Clamp, flag};

const WAN: u32 = 2;
const PORT: u32 = 3;
const NETDEV: u32 = 4;
const WIRE: u32 = 5;

fn config(tunnel: &str, session: &str) -> Config {
    let text = format!(
        "[[tunnel]]\ntunnel_id = 1\npeer_tunnel_id = 2\nlocal = \"192.0.2.1\"\nremote = \"198.51.100.1\"\n\
         udp_sport = 6000\nudp_dport = 5000\n{tunnel}\n\
         [[tunnel.session]]\nsession_id = 3000\npeer_session_id = 4000\n{session}\n"
    );
    let mut config = Config::parse("test", &text).unwrap();
    config.tunnels[0].backend = Backend::Standalone;
    config
}

/// The plan of all sessions.
fn of(config: &Config, mode: XdpMode, observed: &Observed) -> Plan {
    let mut slots = Slots::new(8);
    slots.follow(&[3000].into());
    let made = Made::default();
    plan::plan(&Wish { config, mode, wan: &[], made: &made, slots: &slots }, observed)
}

fn link(ifindex: u32, name: &str) -> Link {
    Link {
        ifindex,
        name: name.to_owned(),
        mac: Some([2, 0, 0, 0, 0, ifindex as u8]),
        mtu: 1500,
        running: true,
        ..Link::default()
    }
}

/// A kernel with a WAN device, a port, a pseudowire's device, and a resolved gateway.
fn observed(config: &Config) -> Observed {
    let mut observed = Observed::default();
    let ours =
        |ifindex, name| Link { veth: true, alias: Some("l2xdp session 3000".into()), ..link(ifindex, name) };
    for link in [link(WAN, "eth0"), link(PORT, "eth1"), ours(NETDEV, "l2x0"), ours(WIRE, "l2xw3000")] {
        observed.links.insert(link.ifindex, link);
    }
    let gateway = "192.0.2.254".parse().unwrap();
    let route = Route { ifindex: WAN, gateway: Some(gateway), mtu: None, local: false, ttl: 64 };
    observed.routes.insert(plan::query(&config.tunnels[0]), Ok(route));
    observed.neighbours.insert(
        (WAN, gateway),
        Neighbour { mac: Some([2, 0, 0, 0, 0, 0xfe]), managed: true, ..Neighbour::default() },
    );
    observed
}

fn hook(ifindex: u32, place: Place, program: ProgramName) -> Hook {
    Hook { ifindex, place, program }
}

fn hooks(plan: &Plan) -> Vec<Hook> {
    plan.hooks.iter().copied().collect()
}

#[test]
fn netdev_sends_from_its_egress_and_receives_by_both_hooks() {
    let config = config("", "netdev = \"l2x0\"");
    let plan = of(&config, XdpMode::Auto, &observed(&config));
    assert_eq!(
        hooks(&plan),
        [
            hook(WAN, Place::Xdp, ProgramName::XdpDecap),
            hook(WAN, Place::Ingress, ProgramName::TcDecap),
            hook(NETDEV, Place::Egress, ProgramName::TcEncap),
        ]
    );
    let tx = &plan.tx[&AttachKey { ifindex: NETDEV, vlan: AttachKey::ALL_VLANS }];
    // 1500 − 20 − 8 − 12, and 14 + 20 + 20 less.
    assert_eq!((tx.ifindex, tx.max_inner, tx.outer_len, tx.flags), (WAN, 1460, 54, 0));
    assert_eq!(tx.clamp, Clamp { ipv4: 1406, ipv6: 1386, tag_mask: u16::MAX });
    let rx = &plan.rx[&3000];
    assert_eq!((rx.xdp_ifindex, rx.tc_ifindex, rx.flags), (WIRE, NETDEV, flag::INGRESS));
    assert_eq!(plan.mtus[&NETDEV], 1446);
    assert_eq!(plan.trouble[&3000], None);
}

#[test]
fn port_sends_by_both_hooks() {
    let config = config("", "port = \"eth1\"");
    let plan = of(&config, XdpMode::Auto, &observed(&config));
    assert!(plan.hooks.contains(&hook(PORT, Place::Xdp, ProgramName::XdpEncap)));
    assert!(plan.hooks.contains(&hook(PORT, Place::Ingress, ProgramName::TcEncap)));
    assert!(plan.promiscuous.contains(&PORT));
    assert_eq!((plan.rx[&3000].xdp_ifindex, plan.rx[&3000].tc_ifindex), (PORT, PORT));
    assert!(plan.mtus.is_empty());
}

#[test]
fn veth_port_is_left_to_tc_unless_forced() {
    let config = config("", "port = \"eth1\"");
    let mut observed = observed(&config);
    observed.links.get_mut(&PORT).unwrap().veth = true;
    let encap = hook(PORT, Place::Xdp, ProgramName::XdpEncap);
    let key = AttachKey { ifindex: PORT, vlan: AttachKey::ALL_VLANS };
    assert!(!of(&config, XdpMode::Auto, &observed).hooks.contains(&encap));
    let native = of(&config, XdpMode::Native, &observed);
    assert!(native.hooks.contains(&encap));
    assert!(native.tx[&key].has(flag::UNFINISHED));
}

#[test]
fn mode_tc_has_no_xdp() {
    for session in ["port = \"eth1\"", "netdev = \"l2x0\""] {
        let config = config("", session);
        let plan = of(&config, XdpMode::Tc, &observed(&config));
        assert!(!plan.hooks.is_empty());
        assert!(plan.hooks.iter().all(|hook| hook.place != Place::Xdp), "{:?}", plan.hooks);
    }
}

#[test]
fn what_xdp_cannot_send_to_is_left_to_tc() {
    let config = config("", "port = \"eth1\"");
    let key = AttachKey { ifindex: PORT, vlan: AttachKey::ALL_VLANS };
    let mut observed = observed(&config);
    observed.no_xdp_xmit = [PORT].into();
    let plan = of(&config, XdpMode::Auto, &observed);
    assert!(plan.rx[&3000].has(flag::VIA_TC) && !plan.tx[&key].has(flag::VIA_TC));
    observed.no_xdp_xmit = [WAN].into();
    let plan = of(&config, XdpMode::Auto, &observed);
    assert!(!plan.rx[&3000].has(flag::VIA_TC) && plan.tx[&key].has(flag::VIA_TC));
}

/// A VLAN device on a veth, a bridge with a veth in it, and both.
#[test]
fn what_is_on_top_of_a_veth_hands_frames_over_like_it() {
    const VETH: u32 = 8;
    const BRIDGE: u32 = 9;
    let config = config("", "netdev = \"l2x0\"");
    let key = AttachKey { ifindex: NETDEV, vlan: AttachKey::ALL_VLANS };
    let finishes = |change: &dyn Fn(&mut Observed)| {
        let mut observed = observed(&config);
        let veth = Link { veth: true, tx_checksum: true, peer: Some(77), ..link(VETH, "veth0") };
        observed.links.insert(VETH, veth);
        observed.links.insert(BRIDGE, link(BRIDGE, "br0"));
        change(&mut observed);
        of(&config, XdpMode::Auto, &observed).tx[&key].has(flag::FINISH)
    };
    assert!(!finishes(&|_| {}), "a NIC finishes checksums itself");
    assert!(finishes(&|it| it.links.get_mut(&WAN).unwrap().peer = Some(VETH)));
    assert!(finishes(&|it| it.links.get_mut(&VETH).unwrap().controller = Some(WAN)));
    assert!(finishes(&|it| {
        it.links.get_mut(&WAN).unwrap().peer = Some(BRIDGE);
        it.links.get_mut(&VETH).unwrap().controller = Some(BRIDGE);
    }));
    assert!(!finishes(&|it| {
        it.links.get_mut(&WAN).unwrap().peer = Some(VETH);
        it.links.get_mut(&VETH).unwrap().tx_checksum = false;
    }));
    assert!(!finishes(&|it| it.links.get_mut(&WAN).unwrap().peer = Some(WAN)), "no end without a limit");
}

#[test]
fn veth_wan_may_bring_unfinished_checksums() {
    let config = config("", "netdev = \"l2x0\"");
    let mut observed = observed(&config);
    observed.links.get_mut(&WAN).unwrap().veth = true;
    assert!(of(&config, XdpMode::Auto, &observed).rx[&3000].has(flag::UNFINISHED));
}

#[test]
fn one_vlan_of_a_port() {
    let config = config("", "port = \"eth1\"\nvlan = 100");
    let plan = of(&config, XdpMode::Auto, &observed(&config));
    let tx = &plan.tx[&AttachKey { ifindex: PORT, vlan: 100 }];
    assert!(tx.has(flag::RETAG) && plan.rx[&3000].has(flag::RETAG));
    assert_eq!(plan.rx[&3000].vlan, 100);
}

#[test]
fn without_a_path_nothing_is_sent_but_everything_received() {
    let config = config("", "netdev = \"l2x0\"");
    let key = AttachKey { ifindex: NETDEV, vlan: AttachKey::ALL_VLANS };
    let unresolved = {
        let mut observed = observed(&config);
        observed.neighbours.clear();
        observed
    };
    let down = {
        let mut observed = observed(&config);
        observed.links.get_mut(&WAN).unwrap().running = false;
        observed
    };
    for (observed, says) in [(unresolved, "192.0.2.254 on eth0 does not answer"), (down, "eth0 is down")] {
        let plan = of(&config, XdpMode::Auto, &observed);
        assert_eq!(plan.tx[&key].ifindex, 0);
        assert!(plan.rx.contains_key(&3000));
        assert_eq!(plan.trouble[&3000].as_deref(), Some(says));
        assert!(plan.next_hops.contains(&(WAN, "192.0.2.254".parse().unwrap())));
    }
}

#[test]
fn no_route_says_what_the_kernel_said() {
    let config = config("", "netdev = \"l2x0\"");
    let mut observed = observed(&config);
    observed.routes.insert(plan::query(&config.tunnels[0]), Err("Network is unreachable".to_owned()));
    let plan = of(&config, XdpMode::Auto, &observed);
    assert_eq!(plan.trouble[&3000].as_deref(), Some("no route: Network is unreachable"));
    assert_eq!(hooks(&plan), [hook(NETDEV, Place::Egress, ProgramName::TcEncap)]);
}

#[test]
fn route_mtu_counts() {
    let config = config("", "netdev = \"l2x0\"\ncookie = \"0123456789abcdef\"");
    let mut observed = observed(&config);
    let route = observed.routes.get_mut(&plan::query(&config.tunnels[0])).unwrap().as_mut().unwrap();
    route.mtu = Some(1400);
    let plan = of(&config, XdpMode::Auto, &observed);
    assert_eq!(plan.mtus[&NETDEV], 1400 - 20 - 8 - 20 - 14);
}

#[test]
fn the_device_of_a_session_on_the_slow_path_follows_too() {
    let config = config("", "netdev = \"l2x0\"\nseq = \"both\"");
    let plan = of(&config, XdpMode::Auto, &observed(&config));
    assert_eq!(plan.trouble[&3000].as_deref(), Some("on the slow path: sequence numbers are on"));
    assert_eq!(plan.mtus[&NETDEV], 1500 - 20 - 8 - 12 - 14);
}

#[test]
fn a_device_that_is_gone_is_named() {
    let config = config("", "port = \"eth1\"");
    let mut observed = observed(&config);
    observed.links.remove(&PORT);
    let plan = of(&config, XdpMode::Auto, &observed);
    assert_eq!(plan.trouble[&3000].as_deref(), Some("interface eth1 is gone"));
    assert!(plan.tx.is_empty() && plan.rx.is_empty());
}

#[test]
fn a_pseudowire_device_that_is_gone_is_named() {
    let config = config("", "netdev = \"l2x0\"");
    let mut observed = observed(&config);
    observed.links.remove(&NETDEV);
    let plan = of(&config, XdpMode::Auto, &observed);
    assert!(plan.trouble[&3000].as_ref().unwrap().starts_with("l2x0 is gone: "), "{:?}", plan.trouble);
    assert!(plan.tx.is_empty() && plan.rx.is_empty());
}
