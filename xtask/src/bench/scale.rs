//! Many sessions: what receiving for one of them costs, and what it takes to have them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::process::Process;
use l2xdp_tests::wire::Side;
use serde::Deserialize;

use super::bpf::{self, Kind, Program};
use super::burst::{self, Load};
use super::chain::{Chain, PLAIN};
use super::cpu;
use super::device::{self, Device};
use super::frame::{HEAD, SESSION, Tunnelled};
use super::report::{Measured, Report, alternate};
use super::setting::Setting;
use super::source::Sink;
use super::way::Way;
use crate::project;

const ABSOLUTE: [&str; 3] = ["MiB of maps", "s to load the programs", "s to fill the maps"];
const SESSIONS: [u32; 4] = [1, 1000, 65_536, 1_000_000];
/// The time to fill the maps.
const FILLED: Duration = Duration::from_secs(120);

/// Packets per second, and more.
pub fn run(setting: &Setting) -> Result<Report> {
    ensure!(!setting.counted, "bench scale is about memory, which costs no instructions: run it on the host");
    let receiver = build()?;
    let figures =
        alternate(setting.rounds, &SESSIONS, name, |sessions| measure(sessions, &receiver, setting))?;
    Ok(Report {
        bench: "receiving for many sessions".to_owned(),
        unit: "what the columns say".to_owned(),
        notes: vec![
            "Each frame of 64 bytes, with a cookie of eight, is for any of the sessions, which share one port.".to_owned(),
            "One CPU: generator, one veth, decapsulation, one veth, sink. The maps are filled past the loader.".to_owned(),
        ],
        reference: name(1),
        absolute: ABSOLUTE.map(str::to_owned).to_vec(),
        ..setting.report(figures)?
    })
}

fn name(sessions: u32) -> String {
    if sessions == 1 { "1 session".to_owned() } else { format!("{sessions} sessions") }
}

/// What the receiver says of itself.
#[derive(Deserialize)]
struct Said {
    bytes: u64,
    load: f64,
    fill: f64,
}

fn measure(sessions: u32, receiver: &Path, setting: &Setting) -> Result<Measured> {
    let chain = Chain::build(PLAIN)?;
    let (near, gateway, far) = (chain.gateway(Side::One), chain.gateway(Side::Two), chain.host(Side::Two));
    let (_process, said) = start(&chain, sessions, receiver, setting)?;
    let (sink, load) = (Sink::at(far, "eth0")?, Load::of(setting));
    let (out, wan) = (Device::of(near, "eth0")?, Device::of(gateway, "eth0")?);
    let frames = Tunnelled::to_two(device::macs(wan, out));
    let frame = frames.bytes(64);
    let generator = bpf::scatterer(&frame[..HEAD], SESSION, sessions, out.index);
    let generator = Program::load(Kind::Xdp, &generator)?;
    let interval = near.enter(|| {
        cpu::claim(0, load.realtime)?;
        (0..load.bursts).try_fold(f64::INFINITY, |least, _| {
            Ok(least.min(burst::send(&generator, &frame, load.burst, &sink.count)?.interval()?))
        })
    })?;
    let [memory, load, fill] = ABSOLUTE.map(str::to_owned);
    Ok(vec![
        ("Mpps".to_owned(), 1000.0 / interval),
        (memory, said.bytes as f64 / f64::from(1 << 20)),
        (load, said.load),
        (fill, said.fill),
    ])
}

/// Has tun02 receive for so many copies of the session that l2xdp has there.
fn start(chain: &Chain, sessions: u32, receiver: &Path, setting: &Setting) -> Result<(Process, Said)> {
    let gateway = chain.gateway(Side::Two);
    let mut at_work = Way::Port.start(chain, &setting.loader)?;
    let l2xdp = at_work.daemons.last_mut().context("l2xdp does not run")?.process().id();
    let wan = Device::of(gateway, "eth0")?.index;
    let mut command = gateway.command(receiver);
    command.args([l2xdp, sessions, wan].map(|number| number.to_string()));
    let log = chain.work.file("receiver.log");
    let mut process = Process::start(&mut command, &log)?;
    process.await_sign("sampled", FILLED)?;
    drop(at_work);
    process.await_sign("ready", FILLED)?;
    let said = fs::read_to_string(&log)?;
    let json = said.lines().find_map(|line| line.strip_suffix(" ready")).context("it says nothing")?;
    Ok((process, serde_json::from_str(json).with_context(|| format!("it says {json}"))?))
}

fn build() -> Result<PathBuf> {
    let arguments = ["build", "--release", "--package=l2xdp-tests", "--example=many_sessions"];
    let built = project::build(project::cargo().args(arguments))?;
    let example = built.into_iter().find(|artifact| artifact.target.name == "many_sessions");
    example.and_then(|artifact| artifact.executable).context("cargo built no example named many_sessions")
}
