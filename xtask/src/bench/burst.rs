//! Packets of a generator, all of which must come.

use std::time::Duration;

use anyhow::{Context as _, Result};
use l2xdp_tests::interrupt;

use super::bpf::{BATCH, Count, Program, Seen};
use super::setting::Setting;

/// How many packets are sent.
#[derive(Clone, Copy)]
pub struct Load {
    /// At a time: whole batches.
    pub burst: u32,
    /// How often; the quickest burst counts, as all that comes between makes it slower.
    pub bursts: u32,
    /// Whether others on this machine are kept off the CPU.
    pub realtime: bool,
}

/// Under emulation, where nothing disturbs the count.
const COUNTED: Load = Load { burst: 32 * BATCH, bursts: 3, realtime: false };
/// Where time is taken.
const TIMED: Load = Load { burst: 1600 * BATCH, bursts: 5, realtime: true };

impl Load {
    /// What is good where a bench runs.
    pub fn of(setting: &Setting) -> Self {
        if setting.counted { COUNTED } else { TIMED }
    }
}

/// Has a generator send so many packets, in the namespace of this thread, and says how they came.
pub fn send(generator: &Program, frame: &[u8], packets: u32, count: &Count) -> Result<Seen> {
    count.reset()?;
    generator.run_live(frame, packets)?;
    let seen = interrupt::poll(Duration::from_millis(500), || {
        let seen = count.look()?;
        Ok((seen.packets == u64::from(packets)).then_some(seen))
    })?;
    seen.with_context(|| format!("of {packets} packets {} came", count.look().unwrap_or_default().packets))
}
