//! The same frames, sent through the driver and through l2xdp, give the same outer packets.

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::frames::{self, Named};
use libtest_mimic::Trial;

use crate::arm::Arm;
use crate::bench::{self, Bench};
use crate::carrier::Carrier;
use crate::outer;
use crate::session::{Session, Tunnel};

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for carrier in Carrier::CANDIDATES {
        for tunnel in Tunnel::ALL {
            let name = format!("send/{}/{tunnel}", carrier.name());
            trials.push(bench::trial(name, carrier, move |bench| same_packets(bench, tunnel)));
        }
    }
    trials
}

fn same_packets(bench: &Bench, tunnel: Tunnel) -> Result<()> {
    for session in tunnel.sessions() {
        for frame in frames_of(&session) {
            same_packet(bench, &session, &frame).with_context(|| format!("{session}: {}", frame.name))?;
        }
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
