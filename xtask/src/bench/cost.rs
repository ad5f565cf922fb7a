//! Each program alone: what it costs per packet, and how big it is.

use std::process;

use anyhow::{Context as _, Result};
use l2xdp_tests::wire::Side;

use super::bpf::{Statistics, programs_of};
use super::burst::Load;
use super::chain::{Chain, PLAIN};
use super::report::{Measured, Report, alternate};
use super::setting::Setting;
use super::source::{Sink, Source};
use super::way::Way;

/// A program where it can be watched at work.
#[derive(Clone, Copy)]
struct Subject {
    /// As the kernel calls it.
    name: &'static str,
    way: Way,
    /// The gateway.
    at: Side,
}

const SUBJECTS: [Subject; 5] = [
    Subject { name: REDIRECT, way: Way::Bare, at: Side::One },
    Subject { name: "xdp_encap", way: Way::Port, at: Side::One },
    Subject { name: "xdp_decap", way: Way::Port, at: Side::Two },
    Subject { name: "tc_encap", way: Way::NetdevTc, at: Side::One },
    Subject { name: "tc_decap", way: Way::NetdevTc, at: Side::Two },
];
/// The bench's own.
const REDIRECT: &str = "redirect";
const LENGTH: usize = 64;
const SIZES: [&str; 3] = ["bytes of JITed code", "instructions of BPF", "instructions verified"];

/// What the kernel's statistics of programs say.
pub fn run(setting: &Setting) -> Result<Report> {
    let figures = alternate(
        setting.rounds,
        &SUBJECTS,
        |subject| subject.name.to_owned(),
        |subject| measure(subject, setting),
    )?;
    Ok(Report {
        bench: "programs".to_owned(),
        unit: "what the columns say".to_owned(),
        notes: vec![
            format!(
                "Frames of {LENGTH} bytes; a cookie of eight. The kernel's statistics (bpf_stats_enabled) take the time."
            ),
            format!(
                "What they take themselves is in the figures: {REDIRECT} does nothing else but to call the helper."
            ),
        ],
        reference: REDIRECT.to_owned(),
        absolute: SIZES.map(str::to_owned).to_vec(),
        ..setting.report(figures)?
    })
}

fn measure(subject: Subject, setting: &Setting) -> Result<Measured> {
    let chain = Chain::build(PLAIN)?;
    let mut at_work = subject.way.start(&chain, &setting.loader)?;
    let sink = Sink::at(chain.host(Side::Two), "eth0")?;
    let source = Source::new(&chain, &[(1, LENGTH)])?;
    source.warm_up(&sink)?;
    let statistics = Statistics::enable()?;
    source.quickest(0, Load::of(setting), &sink)?;
    drop(statistics);
    let gateway = usize::from(subject.at == Side::Two);
    let process = at_work.daemons.get_mut(gateway).map_or_else(process::id, |daemon| daemon.process().id());
    let programs = programs_of(process)?.into_iter().filter(|program| program.name() == subject.name);
    // Of the bench's own there are several, one of which was at work.
    let program = programs.max_by_key(|program| program.runs);
    let program = program.with_context(|| format!("process {process} has no program {}", subject.name))?;
    let unit = if setting.counted { "instructions" } else { "ns" };
    let [jited, translated, verified] = SIZES.map(str::to_owned);
    Ok(vec![
        (format!("{unit} per packet"), program.time as f64 / program.runs as f64),
        (jited, program.jited.into()),
        (translated, f64::from(program.translated) / 8.0),
        (verified, program.verified.into()),
    ])
}
