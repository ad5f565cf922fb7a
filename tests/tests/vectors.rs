//! Every packet in `tests/vectors`, through the packet logic on the host and through the real programs.
//!
//! A vector holds what becomes of a packet: the verdict, every byte, and exactly the counters that move. Its expected
//! bytes do not come from our code; `tests/vectors/README.md` tells more.

mod common;
#[path = "common/host.rs"]
mod host;

use common::{run, vector};
use libtest_mimic::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let Ok(vectors) = vector::load().inspect_err(|error| eprintln!("{error}")) else {
        return ExitCode::FAILURE;
    };
    let mut trials = host::trials(&vectors);
    trials.extend(run::unless(run::obstacle(), run::trials(&vectors)));
    libtest_mimic::run(&arguments, trials).exit_code()
}
