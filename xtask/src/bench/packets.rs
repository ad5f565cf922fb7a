//! Packets through a chain of two gateways, from a generator in the kernel to a sink in the kernel.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use l2xdp_tests::interrupt;
use l2xdp_tests::wire::Side;

use super::bpf::{self, BATCH, Count, Kind, Program, Turn};
use super::chain::{Chain, PLAIN};
use super::device::Device;
use super::frame::PLAIN_HEAD;
use super::report::{Measured, Report, alternate};
use super::setting::Setting;
use super::way::{Way, pair};
use super::{burst, cpu};

/// How many packets are sent.
#[derive(Clone, Copy)]
struct Load {
    /// At a time.
    burst: u32,
    /// How often; the quickest burst counts, as all that comes between makes it slower.
    bursts: u32,
    /// Whether others on this machine are kept off the CPU.
    realtime: bool,
}

/// Under emulation, where nothing disturbs the count.
const COUNTED: Load = Load { burst: 32 * BATCH, bursts: 3, realtime: false };
/// Where time is taken.
const TIMED: Load = Load { burst: 1600 * BATCH, bursts: 5, realtime: true };

/// The frames of a measure: so many of each length in turn.
type Mix = (&'static str, &'static [(u32, usize)]);

const MIXES: [Mix; 4] = [
    ("64 bytes", &[(1, 64)]),
    ("512 bytes", &[(1, 512)]),
    ("1400 bytes", &[(1, 1400)]),
    ("IMIX", &[(7, 64), (4, 576), (1, 1400)]),
];

/// What is measured: a way, or generator and sink alone.
type Candidate = Option<Way>;

/// The candidate that is in all others.
const ALONE: &str = "generator and sink alone";

/// All candidates.
const WAYS: [Way; 5] = [Way::Bare, Way::Port, Way::Netdev, Way::Vxlan, Way::L2tpEth];

/// Packets per second; in a guest instructions per packet.
pub fn run(setting: &Setting) -> Result<Report> {
    let load = if setting.counted { COUNTED } else { TIMED };
    let ways = Way::available(&WAYS);
    let candidates: Vec<Candidate> = std::iter::once(None).chain(ways.into_iter().map(Some)).collect();
    let name = |candidate: Candidate| candidate.map_or(ALONE, Way::name).to_owned();
    let intervals = alternate(setting.rounds, &candidates, name, |candidate| {
        let mut measured = measure(candidate, &setting.loader, load)?;
        if !setting.counted {
            measured.iter_mut().for_each(|(_, interval)| *interval = 1000.0 / *interval);
        }
        Ok(measured)
    })?;
    Ok(Report {
        bench: "packets through two gateways".to_owned(),
        unit: if setting.counted { "instructions per packet" } else { "Mpps" }.to_owned(),
        notes: vec![
            "One CPU carries the whole chain, the generator and the sink; no packet was lost.".to_owned(),
        ],
        reference: Way::Bare.name().to_owned(),
        common: setting.counted.then(|| ALONE.to_owned()),
        pairs: vec![pair(Way::Port, Way::Vxlan), pair(Way::Port, Way::L2tpEth)],
        ..setting.report(intervals)?
    })
}

fn measure(candidate: Candidate, loader: &Path, load: Load) -> Result<Measured> {
    let chain = Chain::build(PLAIN)?;
    let _at_work = candidate.map(|way| way.start(&chain, loader)).transpose()?;
    let end = match candidate {
        Some(_) => (chain.host(Side::Two), "eth0"),
        None => (chain.gateway(Side::One), "eth1"),
    };
    let count = Count::new()?;
    let sink = Program::load(Kind::Xdp, &bpf::sink(&count))?;
    let device = Device::of(end.0, end.1)?;
    let _sink = end.0.enter(|| sink.attach_xdp(device.index))?;
    let source = Source { chain: &chain, count: &count, load };
    MIXES.iter().map(|(name, mix)| Ok((name.to_string(), source.interval(mix).context(*name)?))).collect()
}

/// What makes frames, at host01.
struct Source<'a> {
    chain: &'a Chain,
    count: &'a Count,
    load: Load,
}

impl Source<'_> {
    /// Nanoseconds from packet to packet, in the quickest of several bursts.
    fn interval(&self, mix: &[(u32, usize)]) -> Result<f64> {
        let host = self.chain.host(Side::One);
        let out = Device::of(host, "eth0")?.index;
        let plain = self.chain.frame()?;
        let frames: Vec<_> = mix.iter().map(|(_, length)| plain.bytes(*length)).collect();
        let longest = frames.iter().max_by_key(|frame| frame.len()).context("no frames to send")?;
        let kinds =
            mix.iter().zip(&frames).map(|((count, length), frame)| (*count, *length, &frame[..PLAIN_HEAD]));
        let turn = Turn::new()?;
        let generator = match &frames[..] {
            [frame] => bpf::generator(&frame[..PLAIN_HEAD], out),
            _ => bpf::mixer(&kinds.collect::<Vec<_>>(), longest.len(), &turn, out),
        };
        let generator = Program::load(Kind::Xdp, &generator)?;
        host.enter(|| {
            cpu::claim(0, self.load.realtime)?;
            self.warm_up(&generator, longest)?;
            (0..self.load.bursts).try_fold(f64::INFINITY, |least, _| {
                Ok(least.min(burst::send(&generator, longest, self.load.burst, self.count)?.interval()?))
            })
        })
    }

    /// Until the first packets come: neighbours may have to be found.
    fn warm_up(&self, generator: &Program, frame: &[u8]) -> Result<()> {
        const LIMIT: Duration = Duration::from_secs(5);
        let arrived = interrupt::poll(LIMIT, || Ok(burst::send(generator, frame, BATCH, self.count).ok()))?;
        arrived.context("no packets come").map(drop)
    }
}
