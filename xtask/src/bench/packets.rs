//! Packets through a chain of two gateways, from a generator in the kernel to a sink in the kernel.

use std::path::Path;

use anyhow::{Context as _, Result};
use l2xdp_tests::wire::Side;

use super::burst::Load;
use super::chain::{Chain, PLAIN};
use super::report::{Measured, Report, alternate};
use super::setting::Setting;
use super::source::{Sink, Source};
use super::way::{Way, pair};

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
    let load = Load::of(setting);
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
    let sink = Sink::at(end.0, end.1)?;
    let measure = |(name, mix): &Mix| {
        let source = Source::new(&chain, mix)?;
        let interval = source.quickest(0, load, &sink).context(*name)?;
        Ok(((*name).to_owned(), interval))
    };
    MIXES.iter().map(measure).collect()
}
