//! `l2xdp import` writes the file of what is there, and `l2xdp run` with it finds nothing to do.

use std::fs;

use anyhow::{Result, ensure};
use l2xdp::config::{Config, Encap};
use l2xdp_tests::command::{self, SOON};
use l2xdp_tests::snapshot::Snapshot;
use l2xdp_tests::wire::Side;
use libtest_mimic::Trial;

use crate::bench::{Bench, end, is_fast, is_kept, trial};
use crate::kinds::Set;
use crate::operator::batch;

pub fn trials() -> Vec<Trial> {
    vec![trial("imported/all-kinds", all_kinds)]
}

fn all_kinds(bench: &Bench) -> Result<()> {
    let (lab, gateway, set) = (&bench.lab, &bench.lab.tun01, Set::few());
    batch(gateway, &lab.work, &set.batch())?;
    let named = set.sessions.iter().filter_map(|session| session.ifname.as_deref());
    let [bridged, smaller] = [0, 1].map(|at| named.clone().nth(at).unwrap_or_default());
    lab.add_bridge(Side::One)?;
    gateway.run(&format!("ip link set {bridged} master br0"))?;
    gateway.run(&format!("ip link set {smaller} mtu 1300"))?;
    let before = Snapshot::of(gateway)?;

    let text = command::run(gateway.command(&bench.loader).arg("import"), SOON)?;
    before.is_still_that_of(gateway)?;
    let file = lab.work.file("imported.toml");
    fs::write(&file, &text)?;
    let checked = command::run(gateway.command(&bench.loader).arg("check").arg(&file), SOON)?;
    let counted = format!("tunnels {}, sessions {}", set.tunnels.len(), set.sessions.len());
    ensure!(checked.contains(&counted), "{checked} is not {counted}: {text}");
    ensure!(text.contains("bridge = \"br0\"") && text.contains("mtu = 1300"), "{text}");

    let daemon = bench.run(Side::One, &text)?;
    set.is_what_ip_shows(gateway)?;
    for tunnel in &Config::parse("imported", &text)?.tunnels {
        for session in &tunnel.sessions {
            let seq = session.pseudowire.seq;
            match tunnel.encap {
                Encap::Ip => is_kept(gateway, session.session_id, "encap ip")?,
                Encap::Udp if seq.send || seq.recv => is_kept(gateway, session.session_id, "sequence")?,
                Encap::Udp => is_fast(gateway, session.session_id)?,
            }
        }
    }
    end(daemon)?;
    before.is_still_that_of(gateway)
}
