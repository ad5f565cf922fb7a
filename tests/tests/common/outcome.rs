//! All that can be seen of what became of a packet.

use super::hex;
use super::vector::{Direction, Driver, Hook, Vector, Verdict};
use super::world::{ATTACHED, Target, World};
use l2xdp_common::counters::SessionCounters;
use l2xdp_common::wire::{Be16, Vlan};
use l2xdp_common::{Reason, SlowFrame};
use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};

/// What became of a packet, or should have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// In the words of whoever gave it.
    pub verdict: String,
    /// Of a redirected frame.
    pub target: Option<Target>,
    /// Every byte.
    pub frame: Vec<u8>,
    /// The counters of all sessions that moved, and by how much.
    pub counters: BTreeMap<(u32, &'static str), u64>,
    /// The counters of all reasons that moved.
    pub reasons: BTreeMap<&'static str, u64>,
    /// What TC notes on the frame.
    pub mark: u32,
    /// What user space is told of the frame, and the frame.
    pub slow: Vec<(SlowFrame, Vec<u8>)>,
}

impl Outcome {
    /// What a vector says of the packet logic.
    pub fn of_logic(world: &World, vector: &Vector, hook: Hook) -> Result<Self, String> {
        let target = vector.to.as_deref().map(|name| world.target(hook, name)).transpose()?;
        let session = world.session(vector);
        // To the packet logic, the slow path is a verdict like others: the programs make more of it.
        let frame = if vector.verdict == Verdict::Slow { &vector.input[..] } else { vector.output() };
        let counter = |(name, &by): (&String, &u64)| Ok(((session, counter_name(name)?), by));
        Ok(Self {
            verdict: format!("{:?}", vector.verdict),
            target,
            frame: frame.to_vec(),
            counters: vector.counters.iter().map(counter).collect::<Result<_, String>>()?,
            reasons: vector
                .reason
                .iter()
                .map(|reason| Ok((label(reason)?, 1)))
                .collect::<Result<_, String>>()?,
            ..Self::default()
        })
    }

    /// What follows from it for a program.
    pub fn of_program(world: &World, vector: &Vector, hook: Hook) -> Result<Self, String> {
        let mut outcome = Self::of_logic(world, vector, hook)?;
        outcome.verdict = action(hook, vector.verdict).to_owned();
        // What XDP passes on, TC behind it sees and counts; all but what it leaves to TC on purpose.
        if hook == Hook::Xdp && matches!(vector.verdict, Verdict::Pass | Verdict::Slow) {
            outcome.reasons.retain(|&reason, _| reason == "to_tc");
        }
        // What was received and is to be passed on goes back to where it was received, and is counted there.
        if hook == Hook::Split && vector.direction == Direction::Decap && vector.verdict == Verdict::Pass {
            outcome.verdict = "TC_ACT_REDIRECT".to_owned();
            outcome.reasons.clear();
        }
        if hook != Hook::Xdp && vector.verdict == Verdict::Slow {
            outcome.slow(world, vector, hook);
        }
        if vector.verdict == Verdict::Split {
            outcome.mark = split_mark(vector.direction);
        }
        // A tag that TC puts on stays beside the bytes, where a test run does not show it.
        if hook != Hook::Xdp && vector.verdict == Verdict::Redirect && world.puts_tag_on(vector) {
            outcome.frame.drain(2 * MAC_LEN..2 * MAC_LEN + Vlan::LEN);
        }
        Ok(outcome)
    }

    /// What TC makes of a frame for the slow path.
    fn slow(&mut self, world: &World, vector: &Vector, hook: Hook) {
        match (world.driver, hook) {
            (Some(Driver::Here), _) => "TC_ACT_UNSPEC".clone_into(&mut self.verdict),
            (Some(Driver::Elsewhere), _) => {
                "TC_ACT_REDIRECT".clone_into(&mut self.verdict);
                self.frame = vector.output().to_vec();
            }
            (None, Hook::Split) => {
                "TC_ACT_SHOT".clone_into(&mut self.verdict);
                self.frame = vector.output().to_vec();
                self.slow = vec![(told(world, vector), self.frame.clone())];
            }
            // User space takes packets that have been through the splitter.
            (None, _) => {
                "TC_ACT_REDIRECT".clone_into(&mut self.verdict);
                self.reasons = [("gso_tx", 1)].into();
                self.mark = split_mark(Direction::Encap);
            }
        }
    }

    /// An error that names all that differs.
    pub fn check(&self, expected: &Self) -> Result<(), String> {
        let mut text = String::new();
        differ(&mut text, "verdict", &self.verdict, &expected.verdict);
        differ(&mut text, "redirected to", &self.target, &expected.target);
        differ(&mut text, "counters", &self.counters, &expected.counters);
        differ(&mut text, "reasons", &self.reasons, &expected.reasons);
        differ(&mut text, "mark", &self.mark, &expected.mark);
        differ(&mut text, "given to user space", &self.slow, &expected.slow);
        if self.frame != expected.frame {
            text += &format!("frame: {}", hex::difference(&self.frame, &expected.frame));
        }
        if text.is_empty() { Ok(()) } else { Err(text) }
    }
}

/// What TC notes on a frame for the splitter's far end: the device it came from, and the highest bit if it was received.
pub const fn split_mark(direction: Direction) -> u32 {
    match direction {
        Direction::Encap => ATTACHED,
        Direction::Decap => 1 << 31 | ATTACHED,
    }
}

/// What user space is told of a frame.
fn told(world: &World, vector: &Vector) -> SlowFrame {
    let session = world.session(vector);
    let slot = world.sessions.iter().position(|&id| id == session).unwrap_or_default();
    let word = |at: usize| Be16(vector.tag.get(at..at + 2).map_or([0; 2], |bytes| [bytes[0], bytes[1]]));
    SlowFrame { slot: slot as u32, len: vector.output().len() as u32, vlan_proto: word(0), vlan_tci: word(2) }
}

/// In bytes; a tag stands behind two of them.
const MAC_LEN: usize = 6;

/// What a program returns, by the kernel's names.
fn action(hook: Hook, verdict: Verdict) -> &'static str {
    match (hook, verdict) {
        (Hook::Xdp, Verdict::Redirect) => "XDP_REDIRECT",
        (Hook::Xdp, Verdict::Pass | Verdict::Slow) => "XDP_PASS",
        (Hook::Xdp, Verdict::Drop) => "XDP_DROP",
        (Hook::Xdp, Verdict::Split | Verdict::Abort) => "XDP_ABORTED",
        (Hook::Tc | Hook::Split, Verdict::Redirect | Verdict::Split) => "TC_ACT_REDIRECT",
        (Hook::Tc | Hook::Split, Verdict::Pass | Verdict::Slow) => "TC_ACT_UNSPEC",
        (Hook::Tc | Hook::Split, Verdict::Drop | Verdict::Abort) => "TC_ACT_SHOT",
    }
}

fn differ<T: Debug + PartialEq>(text: &mut String, what: &str, got: &T, expected: &T) {
    if got != expected {
        let _ = writeln!(text, "{what}: {got:?}, expected {expected:?}");
    }
}

fn counter_name(name: &str) -> Result<&'static str, String> {
    let counters = SessionCounters::default();
    let known = counters.named().find(|(known, _)| *known == name);
    known.map(|(known, _)| known).ok_or_else(|| format!("there is no counter {name}"))
}

fn label(name: &str) -> Result<&'static str, String> {
    let known = Reason::ALL.iter().map(|reason| reason.label()).find(|label| *label == name);
    known.ok_or_else(|| format!("there is no reason {name}"))
}
