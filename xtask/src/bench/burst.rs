//! Packets of a generator, all of which must come.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use l2xdp_tests::interrupt;

use super::bpf::{BATCH, Count, Program, Seen};
use super::setting::Setting;

/// How many packets are sent.
#[derive(Clone, Copy)]
pub struct Load {
    /// At a time: whole batches.
    pub burst: u32,
    /// How often at least.
    pub bursts: u32,
    /// For how long at least.
    pub time: Duration,
    /// Whether others on this machine are kept off the CPU.
    pub realtime: bool,
}

/// Under emulation, where nothing disturbs the count.
const COUNTED: Load = Load { burst: 32 * BATCH, bursts: 3, time: Duration::ZERO, realtime: false };
/// Where time is taken.
const TIMED: Load = Load { burst: 1600 * BATCH, bursts: 5, time: Duration::from_millis(600), realtime: true };

impl Load {
    /// What is good where a bench runs.
    pub fn of(setting: &Setting) -> Self {
        if setting.counted { COUNTED } else { TIMED }
    }

    /// The least figure of all bursts: all that comes between makes them slower.
    pub fn least(self, mut burst: impl FnMut() -> Result<f64>) -> Result<f64> {
        let (start, mut least, mut bursts) = (Instant::now(), f64::INFINITY, 0);
        while bursts < self.bursts || start.elapsed() < self.time {
            least = least.min(burst()?);
            bursts += 1;
        }
        Ok(least)
    }
}

/// Has a generator send so many packets, in the namespace of this thread, and says how they came.
pub fn send(generator: &Program, frame: &[u8], packets: u32, count: &Count) -> Result<Seen> {
    count.reset()?;
    generator.run_live(frame, packets)?;
    all(packets.into(), count)
}

/// Waits until so many packets have come, which are all.
pub fn all(packets: u64, count: &Count) -> Result<Seen> {
    let seen = interrupt::poll(Duration::from_millis(500), || {
        let seen = count.look()?;
        Ok((seen.packets == packets).then_some(seen))
    })?;
    seen.with_context(|| format!("of {packets} packets {} came", count.look().unwrap_or_default().packets))
}
