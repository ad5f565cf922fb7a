//! The ways to bring received frames into a session's device, measured in turn.

use anyhow::{Context as _, Result};

use super::bpf::BATCH;
use super::receiver::Candidate;
use super::report::{Measured, Report, alternate};
use super::scene::Scene;
use super::setting::Setting;

/// How much of everything is sent.
#[derive(Clone, Copy)]
struct Load {
    /// Packets at a time.
    burst: u32,
    /// Blocks of a TCP stream.
    blocks: u32,
    /// Whether others on this machine are kept off the CPU.
    realtime: bool,
}

/// Under emulation, where nothing disturbs the count.
const COUNTED: Load = Load { burst: 32 * BATCH, blocks: 5, realtime: false };
/// Where time is taken.
const TIMED: Load = Load { burst: 320 * BATCH, blocks: 40, realtime: true };

/// Lengths of frames inside the session, in bytes.
const LENGTHS: [usize; 3] = [64, 512, 1400];

/// Nanoseconds, or in a guest instructions, of every candidate.
pub fn run(setting: &Setting) -> Result<Report> {
    let load = if setting.counted { COUNTED } else { TIMED };
    let scene = Scene::build(&setting.loader, load.realtime)?;
    let name = |candidate: Candidate| candidate.name().to_owned();
    let figures =
        alternate(setting.rounds, scene.candidates(), name, |candidate| measure(&scene, candidate, load))?;
    let device = if scene.kernel_has_l2tp { "l2tp_eth" } else { "a stand-in" };
    Ok(Report {
        bench: format!("receive into {device}"),
        unit: if setting.counted { "instructions" } else { "ns" }.to_owned(),
        reference: Candidate::Tc.name().to_owned(),
        notes: vec![
            "Generator, wire and sink are in all figures; they vary by what the first one comes to."
                .to_owned(),
        ],
        ..setting.report(figures)?
    })
}

fn measure(scene: &Scene, candidate: Candidate, load: Load) -> Result<Measured> {
    let _receiver = scene.start(candidate)?;
    let mut measured = Vec::new();
    for length in LENGTHS {
        let name = format!("packet of {length} bytes");
        measured.push((name.clone(), scene.packets(length, load.burst).context(name)?));
    }
    if candidate != Candidate::None {
        measured.push(("MiB of TCP".to_owned(), scene.tcp(load.blocks).context("TCP")?));
    }
    Ok(measured)
}
