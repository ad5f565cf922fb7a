//! `l2xdp run` with the kernel's backend: what it makes, changes and removes, and what it leaves alone.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use l2xdp::l2tp::KernelSession;
use l2xdp_common::pseudowire::{L2Spec, Seq};
use l2xdp_tests::bpf;
use l2xdp_tests::daemon::Daemon;
use l2xdp_tests::interrupt;
use l2xdp_tests::snapshot::Snapshot;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::traffic::{Pair, until_answered};
use l2xdp_tests::wire::{Attach, Side, Wire};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::bench::{Bench, end, is_fast, session, status, trial};
use crate::kinds::Set;
use crate::operator::{self, Line};
use crate::talk::{Pings, Talk};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("configured/as-the-file-says", as_the_file_says),
        trial("configured/killed", killed),
        trial("configured/foreign-tunnel", foreign_tunnel),
        trial("configured/detached", detached),
    ]
}

const SOON: Duration = Duration::from_secs(5);
const RELOAD: Duration = Duration::from_secs(20);

/// From start over SIGHUP to SIGTERM, beside what others have.
fn as_the_file_says(bench: &Bench) -> Result<()> {
    let (lab, gateway) = (&bench.lab, &bench.lab.tun01);
    operator::add_tunnel(lab, 900)?;
    Line { number: 0, offset: 900 }.add(lab, "cookie 01020304 peer_cookie 01020304")?;
    let before = Snapshot::of(gateway)?;
    let (tunnels, sessions) = (operator::listed(gateway, "tunnel")?, operator::listed(gateway, "session")?);
    let shows = |set: &Set| set.is_what_ip_shows_beside(gateway, [&tunnels, &sessions]);

    let mut set = Set::few();
    let config = |set: &Set| format!("backend = \"kernel\"\n{}", set.config());
    let mut daemon = bench.run(Side::One, &config(&set))?;
    shows(&set)?;
    for shown in status(gateway)?.sessions {
        ensure!(shown.backend == "kernel", "session {} is {}", shown.session_id, shown.backend);
    }

    let devices: Vec<_> = set.sessions.iter().filter_map(|session| session.ifname.clone()).collect();
    let index = |name: &String| bpf::index(gateway, name).map(|index| (name.clone(), index));
    let made = devices.iter().map(index).collect::<Result<Vec<_>>>()?;
    let replaced = change(&mut set)?;
    fs::write(lab.work.file(gateway.name()).with_extension("toml"), config(&set))?;
    daemon.process().signal(Signal::SIGHUP)?;
    daemon.process().await_sign("reloaded", RELOAD)?;
    shows(&set)?;
    for (name, index) in made.into_iter().filter(|(name, _)| !replaced.contains(name)) {
        ensure!(bpf::index(gateway, &name)? == index, "{name} was made anew");
    }

    end(daemon)?;
    before.is_still_that_of(gateway)
}

/// Other sequence numbers for one session, another cookie for the last but one; the last goes, and another comes. The
/// names of devices that can't stay.
fn change(set: &mut Set) -> Result<Vec<String>> {
    let (seq, off) = (Seq { send: true, recv: true }, Seq::default());
    let plain = |session: &&mut KernelSession| {
        session.l2spec == Some(L2Spec::Default) && session.seq == off && session.ifname.is_some()
    };
    set.sessions.iter_mut().find(plain).context("no session without sequence numbers")?.seq = seq;
    let last = set.sessions.pop().context("no session")?;
    let other = set.sessions.last_mut().context("no session")?;
    other.cookie = vec![9; 8];
    let replaced = [&last.ifname, &other.ifname].into_iter().flatten().cloned().collect();
    set.sessions.push(KernelSession {
        session_id: last.session_id + 1,
        peer_session_id: last.peer_session_id + 1,
        ifname: Some("new".into()),
        ..last
    });
    Ok(replaced)
}

/// A killed run's sessions are taken over by the next; with another configuration, they go.
fn killed(bench: &Bench) -> Result<()> {
    let (lab, gateway) = (&bench.lab, &bench.lab.tun01);
    let config = bridged(lab)?;
    let before = Snapshot::of(gateway)?;
    let peer = bench.run(Side::Two, &config(Side::Two))?;
    let daemon = bench.run(Side::One, &config(Side::One))?;
    until_answered(Pair::v4(lab, Side::One)?, SOON)?;
    let made = (bpf::index(gateway, "l2x0")?, operator::listed(gateway, "session")?);

    let pings = Pings::start(lab, Side::One, 84)?;
    let talk = Talk::start(lab)?;
    kill(daemon)?;
    let daemon = bench.run(Side::One, &config(Side::One))?;
    is_fast(gateway, Side::One.session_id())?;
    until_answered(Pair::v4(lab, Side::One)?, SOON).context("after the restart")?;
    let there = (bpf::index(gateway, "l2x0")?, operator::listed(gateway, "session")?);
    ensure!(there == made, "{there:?} is there, and not {made:?}");
    let talked = talk.stop();
    let answers = pings.stop()?;
    ensure!(answers.doubled.is_empty() && answers.lost.len() < 5, "across the restart: {answers:?}");
    talked.context("across the restart")?;

    kill(daemon)?;
    let other = Set::few();
    let daemon = bench.run(Side::One, &format!("backend = \"kernel\"\n{}", other.config()))?;
    other.is_what_ip_shows(gateway)?;
    ensure!(bpf::index(gateway, "l2x0").is_err(), "the killed run's device is still there");
    end(daemon)?;
    end(peer)?;
    before.is_still_that_of(gateway)
}

fn kill(mut daemon: Daemon) -> Result<()> {
    daemon.process().signal(Signal::SIGKILL)?;
    daemon.process().await_end(SOON)?;
    Ok(())
}

/// Bridges at both gateways, and the configuration of a session between them.
fn bridged(lab: &Lab) -> Result<impl Fn(Side) -> String + use<>> {
    Side::BOTH.into_iter().try_for_each(|side| lab.add_bridge(side))?;
    let wire = Wire { backend: "kernel", ..Wire::new(Attach::Netdev) };
    Ok(move |side| wire.config(side))
}

/// Somebody else's tunnel is used where it fits, refused in words where it does not, and never touched.
fn foreign_tunnel(bench: &Bench) -> Result<()> {
    let (lab, gateway) = (&bench.lab, &bench.lab.tun01);
    operator::add_tunnel(lab, 0)?;
    let config = bridged(lab)?;
    let before = Snapshot::of(gateway)?;
    let tunnel = operator::listed(gateway, "tunnel")?;

    let other = config(Side::One).replace("udp_sport = 6000", "udp_sport = 6001");
    let refused = bench.run(Side::One, &other).err().context("another tunnel of that id was taken")?;
    let words = format!("{refused:#}");
    for word in ["tunnel 1000 exists, and is another", "6000", "6001", "ip l2tp del tunnel tunnel_id 1000"] {
        ensure!(words.contains(word), "“{word}” is not in: {words}");
    }
    before.is_still_that_of(gateway).context("after the refusal")?;

    let daemon = bench.run(Side::One, &config(Side::One))?;
    ensure!(session(gateway, Side::One.session_id())?.backend == "kernel");
    ensure!(operator::listed(gateway, "tunnel")? == tunnel, "the tunnel was touched");
    ensure!(operator::listed(gateway, "session")?.len() == 1, "its session was not made");
    end(daemon)?;
    before.is_still_that_of(gateway)
}

/// What a run has made stays after it is detached, on the kernel's path; `auto` is the kernel where there is L2TP.
fn detached(bench: &Bench) -> Result<()> {
    let (lab, gateway) = (&bench.lab, &bench.lab.tun01);
    let config = bridged(lab)?;
    let auto = config(Side::One).replace("\"kernel\"", "\"auto\"");
    let peer = bench.run(Side::Two, &config(Side::Two))?;
    let daemon = bench.run(Side::One, &auto)?;
    ensure!(session(gateway, Side::One.session_id())?.backend == "kernel", "auto is not the kernel");
    until_answered(Pair::v4(lab, Side::One)?, SOON)?;
    let pings = Pings::start(lab, Side::One, 84)?;
    let made = (bpf::index(gateway, "l2x0")?, operator::listed(gateway, "session")?);
    daemon.detach(gateway)?;
    let there = (bpf::index(gateway, "l2x0")?, operator::listed(gateway, "session")?);
    ensure!(there == made, "{there:?} is there, and not {made:?}");
    let link = gateway.run("ip link show l2x0")?;
    ensure!(!link.contains("alias"), "the next run would take it for its own: {link}");
    let gone = interrupt::poll(SOON, || Ok(bpf::index(gateway, "l2xw3000").is_err().then_some(())))?;
    ensure!(gone.is_some(), "l2xw3000 is still there");
    until_answered(Pair::v4(lab, Side::One)?, SOON)?;
    std::thread::sleep(Duration::from_secs(1));
    // Before TCX there is clsact to be removed from two devices, which stops each for a moment (`qdisc_graft`).
    let lost = if bpf::has_tcx(gateway)? { 0 } else { 10 };
    pings.stop()?.are_there_but(lost)?;
    end(peer)
}
