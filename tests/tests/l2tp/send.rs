//! The same frames, sent through the driver and through l2xdp, give the same outer packets.

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::frames::{self, Named};
use libtest_mimic::Trial;

use crate::arm::Arm;
use crate::bench::{self, Bench};
use crate::carrier::Carrier;
use crate::outer;
use crate::session::{Session, Tunnel};

pub fn trials(carrier: Carrier) -> Vec<Trial> {
    let trial = |tunnel| {
        let name = format!("{}/send/{tunnel}", carrier.name());
        bench::trial(name, carrier, move |bench| same_packets(bench, tunnel))
    };
    Tunnel::ALL.map(trial).into()
}

fn same_packets(bench: &Bench, tunnel: Tunnel) -> Result<()> {
    for session in tunnel.sessions() {
        let (frames, before) = (frames_of(&session), bench.candidate.fast(&session)?);
        for frame in &frames {
            same_packet(bench, &session, frame).with_context(|| format!("{session}: {}", frame.name))?;
        }
        // All of them fit the path, and are the fast path's: else the driver would be compared with itself.
        let fast =
            bench.candidate.fast(&session)?.zip(before).map(|([after, _], [before, _])| after - before);
        ensure!(
            fast == Some(frames.len() as u64),
            "{session}: the fast path sent {fast:?} of {}",
            frames.len()
        );
    }
    bench.oracle.nothing_sent()?;
    bench.candidate.nothing_sent()
}

/// Of every kind, and of lengths from the shortest to the longest.
fn frames_of(session: &Session) -> Vec<Named> {
    let lengths = [14, 15, 46, 60, 61, 576, session.longest() - 1, session.longest()];
    frames::varied().into_iter().chain(lengths.map(frames::length)).collect()
}

fn same_packet(bench: &Bench, session: &Session, frame: &Named) -> Result<()> {
    let send = |arm: &Arm| {
        arm.send(session, &frame.bytes)?;
        let packets = arm.sent()?;
        ensure!(!packets.is_empty(), "{} sends nothing", arm.running.carrier().name());
        packets.iter().map(|packet| outer::comparable(packet)).collect::<Result<Vec<_>>>()
    };
    let (right, sent) = (send(&bench.oracle)?, send(&bench.candidate)?);
    ensure!(sent == right, "{sent:02x?} was sent, not {right:02x?}");
    Ok(())
}
