//! Vectors through the packet logic alone, over a frame of the host's.

use crate::common::outcome::Outcome;
use crate::common::vector::{Case, Direction, File, Hook, Vector};
use crate::common::world::{ATTACHED, Target, World, rx_target};
use l2xdp_common::counters::SessionCounters;
use l2xdp_common::host::HostFrame;
use l2xdp_common::wire::{Be16, Be32};
use l2xdp_common::{
    AttachKey, Attachments, Frame as _, Reason, RxSession, Sessions, TxSession, Verdict, decap, encap,
};
use libtest_mimic::Trial;

/// A test for each vector and hook.
pub fn trials(vectors: &[Case]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in vectors {
        for hook in case.vector.hooks() {
            let case = case.clone();
            let name = format!("{}/host-{}", case.vector.name, hook.name());
            trials.push(Trial::test(name, move || Ok(check(&case.file, &case.vector, hook)?)));
        }
    }
    trials
}

fn check(file: &File, vector: &Vector, hook: Hook) -> Result<(), String> {
    let world = World::new(file)?;
    let mut frame = match hook {
        Hook::Xdp => HostFrame::bare(&vector.input),
        Hook::Tc => HostFrame::skb(&vector.input),
        Hook::Split => HostFrame::settled(&vector.input),
    };
    if let Some(segments) = vector.segments {
        frame.segment_len = segments.len as usize;
        frame.segments = segments.count;
    }
    let mut outcome = match vector.direction {
        Direction::Encap => encapsulate(&mut frame, &world),
        Direction::Decap => decapsulate(&mut frame, &world, hook),
    };
    outcome.frame = frame.bytes;
    outcome.check(&Outcome::of_logic(&world, vector, hook)?)
}

/// What the programs do around [`encap`].
fn encapsulate(frame: &mut HostFrame, world: &World) -> Outcome {
    let tx = match encap::find(frame, ATTACHED, world) {
        Ok(tx) => tx,
        Err(reason) => return refused(reason),
    };
    let segments = frame.segments();
    let mut counters = SessionCounters::default();
    let mut outcome = match encap::encap(frame, tx) {
        Ok(bytes) => {
            counters = SessionCounters { tx_packets: segments.into(), tx_bytes: bytes as u64, ..counters };
            redirected(Target { ifindex: tx.ifindex, ingress: false })
        }
        Err(reason) => {
            counters.tx_errors += u64::from(is_error(reason));
            refused(reason)
        }
    };
    count(&mut outcome, world, tx.slot, &counters);
    outcome
}

/// What the programs do around [`decap`].
fn decapsulate(frame: &mut HostFrame, world: &World, hook: Hook) -> Outcome {
    let rx = match decap::find(frame, world) {
        Ok(rx) => rx,
        Err(reason) => return refused(reason),
    };
    let mut counters = SessionCounters::default();
    let mut outcome = match decap::decap(frame, rx) {
        Ok(bytes) => {
            counters = SessionCounters { rx_packets: 1, rx_bytes: bytes as u64, ..counters };
            redirected(rx_target(rx, hook))
        }
        Err(reason) => {
            counters.rx_errors += u64::from(is_error(reason));
            counters.rx_cookie_discards += u64::from(reason == Reason::Cookie);
            refused(reason)
        }
    };
    count(&mut outcome, world, rx.slot, &counters);
    outcome
}

fn redirected(target: Target) -> Outcome {
    Outcome { verdict: "Redirect".to_owned(), target: Some(target), ..Outcome::default() }
}

fn refused(reason: Reason) -> Outcome {
    let reasons = [(reason.label(), 1)].into();
    Outcome { verdict: format!("{:?}", reason.verdict()), reasons, ..Outcome::default() }
}

fn is_error(reason: Reason) -> bool {
    matches!(reason.verdict(), Verdict::Drop | Verdict::Abort)
}

fn count(outcome: &mut Outcome, world: &World, slot: u32, counters: &SessionCounters) {
    let session = world.sessions[slot as usize];
    let moved = counters.named().filter(|&(_, count)| count != 0);
    outcome.counters.extend(moved.map(|(name, count)| ((session, name), count)));
}

impl Attachments for World {
    fn tx(&self, key: AttachKey) -> Option<&TxSession> {
        self.plan.tx.get(&key)
    }
}

impl Sessions for World {
    fn rx(&self, session_id: Be32) -> Option<&RxSession> {
        self.plan.rx.get(&session_id.get())
    }

    fn is_tunnel_port(&self, port: Be16) -> bool {
        self.ports.contains(&port.get())
    }
}
