//! The same outer packets, good and bad, come to the driver and to l2xdp: the same frames are delivered, and the same
//! is counted.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use l2xdp_tests::frames;
use libtest_mimic::Trial;

use crate::arm::Arm;
use crate::bench::{self, Bench};
use crate::carrier::{Carrier, Counters};
use crate::cases::{self, Case, Seen};
use crate::session::{Session, Tunnel};

pub fn trials(carrier: Carrier) -> Vec<Trial> {
    let trial = |tunnel| {
        let name = format!("{}/receive/{tunnel}", carrier.name());
        bench::trial(name, carrier, move |bench| same_deliveries(bench, tunnel))
    };
    Tunnel::ALL.map(trial).into()
}

/// What came of the packets for one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    frames: Vec<Vec<u8>>,
    moved: Counters,
}

/// A session, the frame that is its, and the packets with it.
struct Given {
    session: Session,
    frame: Vec<u8>,
    packets: Vec<Vec<u8>>,
}

const LIMIT: Duration = Duration::from_secs(3);
/// Even what is not to come has this long to do so.
const SETTLED: Duration = Duration::from_millis(60);

/// All failures at once: they tell more together.
fn same_deliveries(bench: &Bench, tunnel: Tunnel) -> Result<()> {
    let failures = cases::all().into_iter().filter_map(|case| {
        let error = same_delivery(bench, tunnel, &case).err()?;
        Some(format!("{}: {error:#}", case.name))
    });
    let failures: Vec<_> = failures.collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn same_delivery(bench: &Bench, tunnel: Tunnel, case: &Case) -> Result<()> {
    let given = |session: Session| {
        let frame = frames::length(60 + u16::from(session.number)).bytes;
        Some(Given { packets: (case.packets)(&session, &frame)?, session, frame })
    };
    let given: Vec<_> = tunnel.sessions().into_iter().filter_map(given).collect();

    let right = outcomes(&bench.oracle, &given, &|given, outcome, _| {
        case.driver.iter().any(|seen| is_as_stated(seen, given, outcome))
    })?;
    let carrier = bench.candidate.running.carrier();
    let other = case.others.iter().find(|(other, _)| *other == carrier);
    let before = if case.fast { fast(&bench.candidate, &given)? } else { Vec::new() };
    let done = outcomes(&bench.candidate, &given, &|given, outcome, at| match other {
        Some((_, seen)) => is_as_stated(seen, given, outcome),
        None => *outcome == right[at],
    });
    done?;
    if case.fast {
        // Else the driver would be compared with itself.
        let after = fast(&bench.candidate, &given)?;
        let moved: Vec<_> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        ensure!(moved.iter().all(|&frames| frames == 1), "the fast path received {moved:?}");
    }
    Ok(())
}

/// What the fast path has received so far for each session.
fn fast(candidate: &Arm, given: &[Given]) -> Result<Vec<u64>> {
    let received = |given: &Given| {
        let counts = candidate.fast(&given.session)?;
        Ok(counts.map(|[_, received]| received).unwrap_or_default())
    };
    given.iter().map(received).collect()
}

fn is_as_stated(seen: &Seen, given: &Given, outcome: &Outcome) -> bool {
    let packets = outcome.moved.iter().filter(|(name, _)| !name.ends_with("_bytes"));
    let frames: &[&[u8]] = if seen.delivered { &[&given.frame] } else { &[] };
    outcome.frames == frames
        && packets.map(|(name, by)| (*name, *by)).eq(seen.counted.iter().copied())
        && (!seen.delivered || outcome.moved.get("rx_bytes") == Some(&(given.frame.len() as u64)))
}

/// Sends the packets, and waits until every session's outcome is as expected.
fn outcomes(
    arm: &Arm,
    given: &[Given],
    expected: &dyn Fn(&Given, &Outcome, usize) -> bool,
) -> Result<Vec<Outcome>> {
    let sessions: Vec<_> = given.iter().map(|given| given.session).collect();
    let before = arm.counters(&sessions)?;
    given.iter().flat_map(|given| &given.packets).try_for_each(|packet| arm.inject(packet))?;

    let mut outcomes = vec![Outcome::default(); given.len()];
    let wrong = |outcomes: &[Outcome]| {
        let mut wrong = given.iter().zip(outcomes).enumerate();
        wrong.find(|(at, (given, outcome))| !expected(given, outcome, *at)).map(|(at, _)| at)
    };
    let start = Instant::now();
    loop {
        thread::sleep(SETTLED);
        observe(arm, &sessions, &before, &mut outcomes)?;
        if wrong(&outcomes).is_none() || start.elapsed() > LIMIT {
            break;
        }
    }
    if let Some(at) = wrong(&outcomes) {
        let (session, Outcome { frames, moved }) = (&sessions[at], &outcomes[at]);
        let name = arm.running.carrier().name();
        bail!("{name}, {session}: {} delivered, {moved:?} moved; {frames:02x?}", frames.len());
    }
    Ok(outcomes)
}

fn observe(arm: &Arm, sessions: &[Session], before: &[Counters], outcomes: &mut [Outcome]) -> Result<()> {
    let now = arm.counters(sessions)?;
    for (at, session) in sessions.iter().enumerate() {
        outcomes[at].frames.extend(arm.delivered(session)?);
        let moved = now[at].iter().map(|(name, count)| (*name, count - before[at][name]));
        outcomes[at].moved = moved.filter(|(_, by)| *by > 0).collect();
    }
    Ok(())
}
