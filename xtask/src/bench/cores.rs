//! One tunnel at one CPU and at two: how well it shares its work out.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use l2xdp_tests::interrupt;
use l2xdp_tests::wire::Side;

use super::burst::Load;
use super::chain::{Chain, PLAIN, Wiring};
use super::report::{Measured, Report, alternate};
use super::setting::Setting;
use super::source::{Sink, Source};
use super::way::Way;

const WAYS: [Way; 2] = [Way::Bare, Way::Port];
const FLOWS: u32 = 0xffff;

/// Packets per second, all CPUs together.
pub fn run(setting: &Setting) -> Result<Report> {
    ensure!(
        !setting.counted && thread::available_parallelism()?.get() > 1,
        "bench cores takes two CPUs and time: run it on the host"
    );
    let mut candidates = Vec::new();
    for way in Way::available(&WAYS) {
        candidates.extend([(way, 1), (way, 2)]);
    }
    let figures = alternate(setting.rounds, &candidates, name, |(way, cpus)| measure(way, cpus, setting))?;
    Ok(Report {
        bench: "one tunnel at several CPUs".to_owned(),
        unit: "Mpps".to_owned(),
        notes: vec![
            format!(
                "{FLOWS} flows in one session. Each CPU has its own generator, and its own queue of each device."
            ),
            "A NIC that hashes addresses and ports puts all of a tunnel's packets into one queue.".to_owned(),
        ],
        reference: name((Way::Bare, 1)),
        pairs: Way::available(&WAYS).into_iter().map(|way| [name((way, 2)), name((way, 1))]).collect(),
        ..setting.report(figures)?
    })
}

fn name((way, cpus): (Way, usize)) -> String {
    format!("{}, {cpus} CPU{}", way.name(), if cpus == 1 { "" } else { "s" })
}

fn measure(way: Way, cpus: usize, setting: &Setting) -> Result<Measured> {
    let chain = Chain::build(Wiring { queues: 2, ..PLAIN })?;
    let _at_work = way.start(&chain, &setting.loader)?;
    let sink = Sink::at(chain.host(Side::Two), "eth0")?;
    let load = Load::of(setting);
    let measure = |length| {
        let source = Source::of_flows(&chain, length, FLOWS)?;
        source.warm_up(&sink)?;
        let rates = (0..load.bursts).map(|_| rate(&source, cpus, load, &sink));
        rates.collect::<Result<Vec<_>>>().map(|rates| rates.into_iter().fold(0.0, f64::max))
    };
    [64, 1400].into_iter().map(|length| Ok((format!("{length} bytes"), measure(length)?))).collect()
}

/// Mpps of bursts from so many CPUs at a time.
fn rate(source: &Source, cpus: usize, load: Load, sink: &Sink) -> Result<f64> {
    // The sending CPUs do not begin at the very same moment.
    let load = Load { burst: 2 * load.burst, ..load };
    sink.count.reset()?;
    thread::scope(|scope| {
        let senders: Vec<_> = (0..cpus).map(|cpu| scope.spawn(move || source.send(cpu, load))).collect();
        senders
            .into_iter()
            .try_for_each(|sender| sender.join().map_err(|_| anyhow!("a generator panicked"))?)
    })?;
    let sent = u64::from(load.burst) * cpus as u64;
    let arrived = interrupt::poll(Duration::from_millis(500), || {
        Ok((sink.count.look()?.packets == sent).then_some(()))
    })?;
    arrived.with_context(|| {
        format!("of {sent} packets {} came", sink.count.look().unwrap_or_default().packets)
    })?;
    let seen = sink.count.look_at_each()?.into_iter().filter(|seen| seen.packets > 0);
    let rates = seen.map(|seen| Ok(1000.0 / seen.interval()?)).collect::<Result<Vec<_>>>()?;
    Ok(rates.into_iter().sum())
}
