//! What makes frames, at host01, and what counts them, at the end.

use std::time::Duration;

use anyhow::{Context as _, Result};
use l2xdp_tests::interrupt;
use l2xdp_tests::netns::Namespace;
use l2xdp_tests::wire::Side;

use super::bpf::{self, BATCH, Count, Kind, Link, Program, Turn};
use super::burst::{self, Load};
use super::chain::Chain;
use super::cpu;
use super::device::Device;
use super::frame::{PLAIN_HEAD, PLAIN_PORTS};

/// Counts all UDP that comes in on a device, and drops everything.
pub struct Sink {
    /// What has come.
    pub count: Count,
    _link: Link,
}

/// A generator at host01, of frames for host02.
pub struct Source<'a> {
    host: &'a Namespace,
    generator: Program,
    frame: Vec<u8>,
}

impl Sink {
    /// On a device of a namespace.
    pub fn at(namespace: &Namespace, device: &str) -> Result<Self> {
        let count = Count::new()?;
        let program = Program::load(Kind::Xdp, &bpf::sink(&count))?;
        let device = Device::of(namespace, device)?;
        let link = namespace.enter(|| program.attach_xdp(device.index))?;
        Ok(Self { count, _link: link })
    }
}

impl<'a> Source<'a> {
    /// Of a mix of frames: so many of each length in turn.
    pub fn new(chain: &'a Chain, mix: &[(u32, usize)]) -> Result<Self> {
        let host = chain.host(Side::One);
        let out = Device::of(host, "eth0")?.index;
        let plain = chain.frame()?;
        let frames: Vec<_> = mix.iter().map(|(_, length)| plain.bytes(*length)).collect();
        let longest = frames.iter().max_by_key(|frame| frame.len()).context("no frames to send")?;
        let kinds =
            mix.iter().zip(&frames).map(|((count, length), frame)| (*count, *length, &frame[..PLAIN_HEAD]));
        let turn = Turn::new()?;
        let generator = match &frames[..] {
            [frame] => bpf::generator(&frame[..PLAIN_HEAD], out),
            _ => bpf::mixer(&kinds.collect::<Vec<_>>(), longest.len(), &turn, out),
        };
        Ok(Self { host, generator: Program::load(Kind::Xdp, &generator)?, frame: longest.clone() })
    }

    /// Of frames of one length in so many flows, which differ by their ports.
    pub fn of_flows(chain: &'a Chain, length: usize, flows: u32) -> Result<Self> {
        let host = chain.host(Side::One);
        let out = Device::of(host, "eth0")?.index;
        let frame = chain.frame()?.bytes(length);
        let generator = bpf::scatterer(&frame[..PLAIN_HEAD], PLAIN_PORTS, flows, out);
        Ok(Self { host, generator: Program::load(Kind::Xdp, &generator)?, frame })
    }

    /// Nanoseconds from packet to packet, in the quickest of several bursts from a CPU, all of which comes.
    pub fn quickest(&self, cpu: usize, load: Load, sink: &Sink) -> Result<f64> {
        self.host.enter(|| {
            cpu::claim(cpu, load.realtime)?;
            self.warm_up(sink)?;
            (0..load.bursts).try_fold(f64::INFINITY, |least, _| {
                let seen = burst::send(&self.generator, &self.frame, load.burst, &sink.count)?;
                Ok(least.min(seen.interval()?))
            })
        })
    }

    /// Sends a burst from a CPU, and leaves it to others whether it comes.
    pub fn send(&self, cpu: usize, load: Load) -> Result<()> {
        self.host.enter(|| {
            cpu::claim(cpu, load.realtime)?;
            self.generator.run_live(&self.frame, load.burst)
        })
    }

    /// Until the first packets come: neighbours may have to be found.
    pub fn warm_up(&self, sink: &Sink) -> Result<()> {
        const LIMIT: Duration = Duration::from_secs(5);
        let try_it = || Ok(burst::send(&self.generator, &self.frame, BATCH, &sink.count).ok());
        let arrived = self.host.enter(|| interrupt::poll(LIMIT, try_it))?;
        arrived.context("no packets come").map(drop)
    }
}
