//! `l2xdp::l2tp` against `ip l2tp`: what the one makes is what the other shows.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use l2xdp::l2tp::{KernelSession, L2tp};
use l2xdp_common::pseudowire::Seq;
use libtest_mimic::Trial;
use netlink_packet_l2tp::L2tpAttribute;
use tokio::time::timeout;

use crate::bench::{Bench, trial};
use crate::kinds::Set;
use crate::operator::{add_odd_session, batch, with_l2tp};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("live/made-by-l2xdp", made_by_l2xdp),
        trial("live/made-by-ip", made_by_ip),
        trial("live/changed", changed),
        trial("live/odd-cookies", odd_cookies),
        trial("live/announced", announced),
        trial("live/refused", refused),
    ]
}

const SECOND: Duration = Duration::from_secs(1);

fn made_by_l2xdp(bench: &Bench) -> Result<()> {
    let (gateway, set) = (&bench.lab.tun01, Set::all());
    with_l2tp(gateway, async |l2tp| {
        make(&l2tp, &set).await?;
        set.is(&l2tp.state().await?)
    })?;
    set.is_what_ip_shows(gateway)?;
    with_l2tp(gateway, async |l2tp| {
        let mut left = set.clone();
        while let Some(tunnel) = left.tunnels.pop() {
            // The last session goes by itself, the others with their tunnel.
            if let Some(session) = left.sessions.pop() {
                l2tp.delete_session(session.tunnel_id, session.session_id).await?;
                left.tunnels.push(tunnel.clone());
                left.is(&l2tp.state().await?)?;
                left.tunnels.pop();
            }
            l2tp.delete_tunnel(tunnel.tunnel_id).await?;
            left.sessions.retain(|session| session.tunnel_id != tunnel.tunnel_id);
            left.is(&l2tp.state().await?).with_context(|| format!("without tunnel {}", tunnel.tunnel_id))?;
        }
        Ok(())
    })?;
    Set::default().is_what_ip_shows(gateway)
}

async fn make(l2tp: &L2tp, set: &Set) -> Result<()> {
    for tunnel in &set.tunnels {
        l2tp.create_tunnel(tunnel).await?;
    }
    for session in &set.sessions {
        l2tp.create_session(session).await?;
    }
    Ok(())
}

fn made_by_ip(bench: &Bench) -> Result<()> {
    let (gateway, set) = (&bench.lab.tun01, Set::all());
    batch(gateway, &bench.lab.work, &set.batch())?;
    with_l2tp(gateway, async |l2tp| set.is(&l2tp.state().await?))?;
    // The judge itself.
    set.is_what_ip_shows(gateway)
}

/// Sequence numbers are all that can be changed of a session.
fn changed(bench: &Bench) -> Result<()> {
    let (gateway, mut set) = (&bench.lab.tun01, Set::few());
    with_l2tp(gateway, async |l2tp| make(&l2tp, &set).await)?;
    for (send, recv) in [(true, true), (false, true), (true, false), (false, false)] {
        let seq = Seq { send, recv };
        set.sessions.iter_mut().for_each(|session| session.seq = seq);
        with_l2tp(gateway, async |l2tp| {
            for session in &set.sessions {
                l2tp.modify_session(session.tunnel_id, session.session_id, seq).await?;
            }
            set.is(&l2tp.state().await?)
        })?;
        set.is_what_ip_shows(gateway)?;
    }
    Ok(())
}

/// The kernel takes cookies of any length up to 8 bytes.
fn odd_cookies(bench: &Bench) -> Result<()> {
    let (gateway, set) = (&bench.lab.tun01, Set::few());
    batch(gateway, &bench.lab.work, &set.batch())?;
    let id = 7777;
    let attributes =
        vec![L2tpAttribute::ConnId(1), L2tpAttribute::SessionId(id), L2tpAttribute::PeerSessionId(1)];
    add_odd_session(gateway, attributes, [&[1, 2, 3], &[7; 7]])?;
    let mut state = with_l2tp(gateway, async |l2tp| l2tp.state().await)?;
    let odd = state.sessions.remove(&(1, id)).context("the odd session is not listed")?;
    ensure!(odd.cookie == [1, 2, 3] && odd.peer_cookie == [7; 7], "{odd:?}");
    set.is(&state)
}

/// Every change is announced at once.
fn announced(bench: &Bench) -> Result<()> {
    let gateway = &bench.lab.tun01;
    let ends = "local 1.1.1.2 remote 2.2.2.2 encap udp udp_sport 6000 udp_dport 5000";
    with_l2tp(gateway, async |l2tp| {
        let mut changes = l2tp.changes().await?;
        for words in [
            &format!("add tunnel tunnel_id 1 peer_tunnel_id 2 {ends}"),
            "add session tunnel_id 1 session_id 3 peer_session_id 4",
            "seq",
            "del session tunnel_id 1 session_id 3",
            "del tunnel tunnel_id 1",
        ] {
            // What is still to come of the one before.
            while timeout(Duration::from_millis(100), changes.next()).await.is_ok() {}
            if words == "seq" {
                l2tp.modify_session(1, 3, Seq { send: true, recv: true }).await?;
            } else {
                gateway.run(&format!("ip l2tp {words}"))?;
            }
            let told = timeout(SECOND, changes.next()).await;
            ensure!(matches!(told, Ok(Some(()))), "nothing was announced of {words}");
        }
        Ok(())
    })
}

/// What the kernel refuses is told with its errno and what it is about.
fn refused(bench: &Bench) -> Result<()> {
    let (gateway, set) = (&bench.lab.tun01, Set::few());
    let tunnel = &set.tunnels[0];
    let session = &KernelSession { ifname: Some("p9".into()), ..set.sessions[0].clone() };
    let other = |change: fn(&mut KernelSession)| {
        let mut other = KernelSession { session_id: 9, ..session.clone() };
        change(&mut other);
        other
    };
    let nowhere = other(|session| session.tunnel_id = 99);
    let taken = other(|session| session.ifname = Some("eth0".into()));
    with_l2tp(gateway, async |l2tp| {
        l2tp.create_tunnel(tunnel).await?;
        l2tp.create_session(session).await?;
        let told = |result: Result<()>, words: &[&str]| {
            let error = result.err().with_context(|| format!("it was not refused: {words:?}"))?;
            let text = format!("{error:#}");
            ensure!(words.iter().all(|word| text.contains(word)), "“{text}” lacks something of {words:?}");
            Ok(())
        };
        told(l2tp.create_tunnel(tunnel).await, &["tunnel 1:", "File exists (os error 17)"])?;
        told(
            l2tp.create_session(&nowhere).await,
            &["session 9", "tunnel 99", "No such device (os error 19)"],
        )?;
        told(l2tp.create_session(&taken).await, &["session 9", "eth0", "File exists (os error 17)"])?;
        told(
            l2tp.modify_session(1, 9, Seq::default()).await,
            &["session 9", "No such device (os error 19)"],
        )?;
        told(l2tp.delete_session(1, 9).await, &["session 9", "No such device (os error 19)"])?;
        told(l2tp.delete_tunnel(99).await, &["tunnel 99", "No such device (os error 19)"])?;
        let made = Set { tunnels: vec![tunnel.clone()], sessions: vec![session.clone()] };
        made.is(&l2tp.state().await?)?;
        // Linux 6.11 and later take a second session of the same id, as long as its device has another name.
        let again = l2tp.create_session(session).await;
        told(again, &["session", "File exists (os error 17)"])
    })
}
