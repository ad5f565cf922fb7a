//! Arrays of one value, which programs reach without a look-up.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};

use super::BATCH;
use super::syscall::{call, open};

/// What the programs [`counter`](super::counter) and [`sink`](super::sink) have seen on a CPU, or on all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Seen {
    /// Frames, or super-packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the first batch was complete, in nanoseconds of the monotonic clock.
    pub first: u64,
    /// When the last one was.
    pub last: u64,
}

/// A [`Seen`] per CPU.
pub struct Count(OwnedFd);

/// Whose turn it is: the state of [`mixer`](super::mixer).
pub struct Turn(OwnedFd);

/// CPUs that are told apart.
pub const SLOTS: usize = 64;

impl Seen {
    /// Nanoseconds from packet to packet: of whole batches, from the end of the first one.
    pub fn interval(&self) -> Result<f64> {
        ensure!(
            self.packets > u64::from(BATCH) && self.last > self.first,
            "{} packets are too few to take the time by",
            self.packets
        );
        Ok((self.last - self.first) as f64 / (self.packets - u64::from(BATCH)) as f64)
    }

    fn and(self, other: Self) -> Self {
        let known = |first: u64| if first == 0 { u64::MAX } else { first };
        Self {
            packets: self.packets + other.packets,
            bytes: self.bytes + other.bytes,
            first: known(self.first).min(known(other.first)),
            last: self.last.max(other.last),
        }
    }
}

impl Count {
    /// A new one.
    pub fn new() -> Result<Self> {
        array(size_of::<[Seen; SLOTS]>()).map(Self)
    }

    /// What was seen since the last reset, on all CPUs.
    pub fn look(&self) -> Result<Seen> {
        Ok(self.look_at_each()?.into_iter().fold(Seen::default(), Seen::and))
    }

    /// The same, CPU by CPU.
    pub fn look_at_each(&self) -> Result<[Seen; SLOTS]> {
        let mut seen = [Seen::default(); SLOTS];
        element(&self.0, LOOKUP, &mut seen)?;
        Ok(seen)
    }

    /// Begins anew.
    pub fn reset(&self) -> Result<()> {
        element(&self.0, UPDATE, &mut [Seen::default(); SLOTS])
    }

    pub(super) fn array(&self) -> &OwnedFd {
        &self.0
    }
}

impl Turn {
    /// A new one.
    pub fn new() -> Result<Self> {
        array(size_of::<u64>()).map(Self)
    }

    pub(super) fn array(&self) -> &OwnedFd {
        &self.0
    }
}

// Commands of bpf(2).
const CREATE: i32 = 0;
const LOOKUP: i32 = 1;
const UPDATE: i32 = 2;

fn array(value: usize) -> Result<OwnedFd> {
    const ARRAY: u32 = 2;
    let attributes = [ARRAY, 4, value as u32, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    open(CREATE, attributes).context("cannot make a map of the bench's")
}

fn element<T>(array: &OwnedFd, command: i32, value: &mut T) -> Result<()> {
    #[repr(C)]
    struct Attributes {
        map: u64,
        key: u64,
        value: u64,
        flags: u64,
    }
    let key = 0_u32;
    let (key, value) = (std::ptr::from_ref(&key) as u64, std::ptr::from_mut(value) as u64);
    call(command, Attributes { map: array.as_raw_fd() as u64, key, value, flags: 0 })
        .context("cannot reach a map of the bench's")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cpus_have_seen_is_summed_up_and_spans_all_of_it() {
        let one = Seen { packets: 128, bytes: 10, first: 1000, last: 5000 };
        let other = Seen { packets: 64, bytes: 10, first: 900, last: 900 };
        let idle = Seen::default();
        let all = [idle, one, other].into_iter().fold(Seen::default(), Seen::and);
        assert_eq!(all, Seen { packets: 192, bytes: 20, first: 900, last: 5000 });
        assert!((all.interval().unwrap() - 4100.0 / 128.0).abs() < 1e-9);
        assert!(other.interval().is_err());
    }
}
