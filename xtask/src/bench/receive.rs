//! The ways to bring received frames into a session's device, measured in turn.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use l2xdp_tests::command::{self, SOON};
use l2xdp_tests::interrupt;
use serde_json::{Map, Value, json};

use super::scene::{Candidate, Scene};

/// How much of everything is sent.
#[derive(Clone, Copy)]
pub struct Load {
    /// Packets at a time.
    burst: u32,
    /// Blocks of a TCP stream.
    blocks: u32,
    /// Whether others on this machine are kept off the CPU.
    realtime: bool,
}

/// Under emulation, where nothing disturbs the count.
pub const COUNTED: Load = Load { burst: 2_000, blocks: 5, realtime: false };
/// Where time is taken.
pub const TIMED: Load = Load { burst: 20_000, blocks: 40, realtime: true };

/// Lengths of frames inside the session, in bytes.
const LENGTHS: [usize; 3] = [64, 512, 1400];

/// Measures every candidate once a round. The figures are nanoseconds, by candidate and measure.
pub fn run(loader: &Path, load: Load, rounds: usize) -> Result<Value> {
    interrupt::catch()?;
    let scene = Scene::build(loader, load.realtime)?;
    let mut figures = Map::new();
    for round in 1..=rounds {
        for &candidate in scene.candidates() {
            let context = || format!("round {round}, {}", candidate.name());
            let measured = measure(&scene, candidate, load).with_context(context)?;
            let known = figures.entry(candidate.name()).or_insert_with(|| json!({}));
            for (name, figure) in measured {
                let figures = known[&name].take();
                let mut figures = figures.as_array().cloned().unwrap_or_default();
                figures.push(figure.into());
                known[&name] = figures.into();
            }
        }
    }
    let kernel = command::run(Command::new("uname").arg("-r"), SOON)?;
    let device = if scene.kernel_has_l2tp { "l2tp_eth" } else { "a stand-in" };
    Ok(json!({"kernel": kernel.trim(), "device": device, "rounds": rounds, "figures": figures}))
}

fn measure(scene: &Scene, candidate: Candidate, load: Load) -> Result<Vec<(String, f64)>> {
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
