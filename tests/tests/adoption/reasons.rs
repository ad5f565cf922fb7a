//! What can't be accelerated is named with the reason, still works, and nothing of it is touched.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::command::{self, SOON};
use l2xdp_tests::daemon::Daemon;
use l2xdp_tests::netns::Namespace;
use l2xdp_tests::snapshot::Snapshot;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::Side;
use libtest_mimic::Trial;
use netlink_packet_l2tp::{L2tpAttribute, L2tpCmd, L2tpEncapType, L2tpPwType};
use serde_json::Value;

use crate::accelerate::is_carried_fast;
use crate::bench::{Bench, end, is_kept, session, trial};
use crate::operator::{self, Line, add_odd_session, ask_kernel};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reasons/each-is-named", each_is_named),
        trial("reasons/ppp", ppp),
        trial("reasons/without-debugfs", without_debugfs),
    ]
}

const PLAIN: Line = Line { number: 0, offset: 0 };
const SEQUENCED: Line = Line { number: 1, offset: 0 };
const OVER_IP: Line = Line { number: 2, offset: 200 };
const ODD: Line = Line { number: 3, offset: 0 };
const IPSEC: Line = Line { number: 4, offset: 500 };

const KEPT: [(Line, &str); 4] = [
    (SEQUENCED, "sequence numbers are on"),
    (OVER_IP, "encap ip"),
    (ODD, "a cookie of 3 bytes"),
    (IPSEC, "IPsec"),
];

fn each_is_named(bench: &Bench) -> Result<()> {
    let (lab, gateway) = (&bench.lab, &bench.lab.tun01);
    add_all(lab)?;
    let before = Snapshot::of(gateway)?;
    let untouched = theirs(gateway)?;
    let daemon = bench.accelerate(Side::One, &["--all"])?;

    is_carried_fast(lab, PLAIN)?;
    let shown = daemon.show(gateway)?;
    for (line, reason) in KEPT {
        is_kept(gateway, line.id(Side::One), reason)?;
        let told = section(&shown, line).is_some_and(|text| text.contains(reason));
        ensure!(told, "l2xdp show does not name “{reason}”: {shown}");
        line.works(lab).with_context(|| reason.to_owned())?;
    }
    let while_it_runs = theirs(gateway)?;
    ensure!(while_it_runs == untouched, "{while_it_runs:#?}\nis not\n{untouched:#?}");
    end(daemon)?;
    before.is_still_that_of(gateway)?;
    gateway.run("ip xfrm policy flush")?;
    Ok(())
}

fn section(shown: &str, line: Line) -> Option<&str> {
    let (_, rest) = shown.split_once(&format!("Session {} in tunnel", line.id(Side::One)))?;
    rest.split("\nSession ").next()
}

fn add_all(lab: &Lab) -> Result<()> {
    operator::add_tunnel(lab, PLAIN.offset)?;
    operator::add_ip_tunnel(lab, OVER_IP.offset)?;
    operator::add_tunnel(lab, IPSEC.offset)?;
    PLAIN.add(lab, "cookie 0102030405060708 peer_cookie 0102030405060708")?;
    SEQUENCED.add(lab, "seq both")?;
    OVER_IP.add(lab, "")?;
    for side in Side::BOTH {
        add_odd(lab, side)?;
    }
    IPSEC.add(lab, "")?;
    // An optional transformation that nobody has keys for: packets go as they are.
    lab.tun01.run(
        "ip xfrm policy add src 1.1.1.2/32 dst 2.2.2.2/32 proto udp sport 6500 dport 5500 dir out \
         tmpl src 1.1.1.2 dst 2.2.2.2 proto esp reqid 7 mode transport level use",
    )?;
    Ok(())
}

fn add_odd(lab: &Lab, side: Side) -> Result<()> {
    let attributes = vec![
        L2tpAttribute::ConnId(side.tunnel_id()),
        L2tpAttribute::SessionId(ODD.id(side)),
        L2tpAttribute::PeerSessionId(ODD.id(side.other())),
        L2tpAttribute::if_name(ODD.device())?,
    ];
    add_odd_session(lab.gateway(side), attributes, [&[1, 2, 3], &[1, 2, 3]])?;
    ODD.raise(lab, side)
}

/// Tunnels, sessions and devices that are not l2xdp's, as iproute2 shows them.
fn theirs(gateway: &Namespace) -> Result<Vec<Value>> {
    const OF_A_DEVICE: [&str; 9] =
        ["ifindex", "ifname", "mtu", "master", "address", "ifalias", "flags", "txqlen", "gso_max_segs"];
    let mut all = operator::listed(gateway, "tunnel")?;
    all.extend(operator::listed(gateway, "session")?);
    let devices: Vec<Value> = serde_json::from_str(&gateway.run("ip -j -d link show")?)?;
    let theirs = devices.into_iter().filter(|device| {
        let name = device["ifname"].as_str().unwrap_or_default();
        !["l2xw", "l2xd", "l2xsplit"].iter().any(|ours| name.starts_with(ours))
    });
    all.extend(theirs.map(|device| OF_A_DEVICE.iter().map(|&key| device[key].clone()).collect()));
    Ok(all)
}

/// PPP sessions, in a tunnel of version 3 and, as is usual, of version 2.
fn ppp(bench: &Bench) -> Result<()> {
    let (lab, gateway) = (&bench.lab, &bench.lab.tun01);
    if command::run(Command::new("modprobe").args(["-q", "l2tp_ppp"]), SOON).is_err() {
        println!("(without PPP: this kernel has no l2tp_ppp)");
        return Ok(());
    }
    operator::add_tunnel(lab, 0)?;
    PLAIN.add(lab, "")?;
    let tunnel = vec![
        L2tpAttribute::ConnId(2),
        L2tpAttribute::PeerConnId(3),
        L2tpAttribute::ProtoVersion(2),
        L2tpAttribute::EncapType(L2tpEncapType::Udp),
        L2tpAttribute::IpSaddr([1, 1, 1, 2].into()),
        L2tpAttribute::IpDaddr([2, 2, 2, 2].into()),
        L2tpAttribute::UdpSport(1701),
        L2tpAttribute::UdpDport(1701),
    ];
    ask_kernel(gateway, L2tpCmd::TunnelCreate, tunnel).context("a tunnel of version 2")?;
    for (tunnel, session) in [(1000, 7), (2, 8)] {
        let attributes = vec![
            L2tpAttribute::ConnId(tunnel),
            L2tpAttribute::SessionId(session),
            L2tpAttribute::PeerSessionId(session),
            L2tpAttribute::PwType(L2tpPwType::Ppp),
        ];
        let context = || format!("a PPP session in tunnel {tunnel}");
        ask_kernel(gateway, L2tpCmd::SessionCreate, attributes).with_context(context)?;
    }
    let before = operator::listed(gateway, "session")?;
    let daemon = bench.accelerate(Side::One, &[])?;
    is_carried_fast(lab, PLAIN)?;
    is_kept(gateway, 7, "pseudowire type ppp")?;
    is_kept(gateway, 8, "L2TP version 2")?;
    end(daemon)?;
    ensure!(operator::listed(gateway, "session")? == before, "the sessions are not those from before");
    Ok(())
}

/// Where debugfs can't be read, the MTU of a device tells of its session's sublayer, until somebody changes it; and a
/// device that was renamed before can't be told.
fn without_debugfs(bench: &Bench) -> Result<()> {
    let (lab, gateway) = (&bench.lab, &bench.lab.tun01);
    let told = [
        (Line::new(0), "default", ""),
        (Line::new(1), "none", ""),
        (Line::new(2), "default", "cookie 0102030405060708 peer_cookie 0102030405060708"),
        (Line::new(3), "none", "cookie 01020304 peer_cookie 01020304"),
    ];
    let [changed, renamed] = [4, 5].map(Line::new);
    operator::add_tunnel(lab, 0)?;
    for (line, l2spec, words) in told {
        line.add(lab, &format!("l2spec_type {l2spec} {words}"))?;
    }
    changed.add(lab, "l2spec_type none")?;
    gateway.run("ip link set p4 mtu 1400")?;
    renamed.add(lab, "")?;
    gateway.run_all(["ip link set p5 down", "ip link set p5 name other", "ip link set other up"])?;

    let mut command = gateway.command("unshare");
    command.args(["--mount", "sh", "-c", "umount -l /sys/kernel/debug; exec \"$@\"", "sh"]);
    command.arg(&bench.loader).arg("accelerate");
    let mut daemon = Daemon::spawn(&mut command, &bench.loader, &lab.work.file(gateway.name()))?;
    daemon.await_ready()?;
    for (line, l2spec, _) in told {
        is_carried_fast(lab, line)?;
        let shown = session(gateway, line.id(Side::One))?.l2spec_type;
        ensure!(shown.as_deref() == Some(l2spec), "line {}: l2spec_type {shown:?}", line.number);
    }
    is_kept(gateway, changed.id(Side::One), "its l2spec_type can't be told")?;
    is_kept(gateway, renamed.id(Side::One), "p5 when it was made")?;
    for kept in [changed, renamed] {
        kept.works(lab)?;
    }
    end(daemon)
}
