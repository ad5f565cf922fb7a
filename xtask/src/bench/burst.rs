//! Packets of a generator, all of which must come.

use std::time::Duration;

use anyhow::{Context as _, Result};
use l2xdp_tests::interrupt;

use super::bpf::{Count, Program, Seen};

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
