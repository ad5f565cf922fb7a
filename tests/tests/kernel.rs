//! What must hold under every kernel: it takes the programs, with room to spare before the verifier's limits, and
//! they do to every vector's packet what they do under any other.

#[path = "common/beyond.rs"]
mod beyond;
#[path = "common/calls.rs"]
mod calls;
mod common;

use common::{run, vector};
use l2xdp::datapath::{Datapath, OBJECT, ProgramName};
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let Ok(vectors) = vector::load().inspect_err(|error| eprintln!("{error}")) else {
        return ExitCode::FAILURE;
    };
    let mut loaded: Vec<_> = ProgramName::ALL.into_iter().map(instructions).collect();
    loaded.push(Trial::test("loads_with_trace", || Ok(loads_with_trace()?)));
    loaded.extend(beyond::trials(&vectors));
    loaded.extend(run::trials(&vectors));
    let mut trials = vec![
        Trial::test("no_memory_functions", || Ok(no_memory_functions()?)),
        Trial::test("no_negative_comparisons", || Ok(no_negative_comparisons()?)),
    ];
    trials.extend(run::unless(run::obstacle(), loaded));
    if run::obstacle().is_none() && !arguments.list {
        print_instructions();
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The most instructions that the verifier may look at, of the million it has: a quarter more than it did where it looked
/// at the most, Linux 6.1 (39 000, 38 000, 160 000, 30 000, 84 000 and 65). Small changes move these by a lot: tc_split has been at 188 000.
const fn limit(program: ProgramName) -> u32 {
    match program {
        ProgramName::XdpEncap => 49_000,
        ProgramName::XdpDecap => 48_000,
        ProgramName::TcEncap => 260_000,
        ProgramName::TcDecap => 42_000,
        ProgramName::TcSplit => 240_000,
        ProgramName::TcDeliver => 100,
    }
}

fn instructions(program: ProgramName) -> Trial {
    let name = format!("verified_instructions/{}", program.as_str());
    Trial::test(name, move || {
        let (count, limit) = (verified_instructions(program)?, limit(program));
        if count > limit { Err(format!("{count} verified instructions, more than {limit}"))? } else { Ok(()) }
    })
}

/// Before the tests' own lines, so that they don't mix.
fn print_instructions() {
    for program in ProgramName::ALL {
        if let Ok(count) = verified_instructions(program) {
            println!("{}: {count} verified instructions, at most {}", program.as_str(), limit(program));
        }
    }
}

fn verified_instructions(program: ProgramName) -> Result<u32, String> {
    run::with_loaded(|loaded| {
        let program = loaded.datapath.ebpf().program(program.as_str()).ok_or("no such program")?;
        let info = program.info().map_err(run::text)?;
        info.verified_instruction_count().ok_or_else(|| "the kernel does not say".to_owned())
    })
}

/// With the log's code in them, which is there to be verified only then.
fn loads_with_trace() -> Result<(), String> {
    Datapath::load(run::LIMITS, run::SPLITTER, true).map(drop).map_err(run::text)
}

/// What the compiler makes of copies and comparisons it finds too long: functions that go byte by byte.
const MEMORY_FUNCTIONS: [&str; 5] = ["bcmp", "memcmp", "memcpy", "memmove", "memset"];

fn no_memory_functions() -> Result<(), String> {
    let calls = calls::calls(OBJECT).map_err(|error| error.to_string())?;
    if !calls.iter().any(|(_, callee)| callee.starts_with("clamp_mss_")) {
        return Err(format!("this test must find the calls that are meant, and found {calls:?}"));
    }
    let bad: Vec<_> =
        calls.iter().filter(|(_, callee)| MEMORY_FUNCTIONS.contains(&callee.as_str())).collect();
    if bad.is_empty() { Ok(()) } else { Err(format!("{bad:?}")) }
}

/// The compiler takes a constant of 32 bits for a negative number of 64 if its highest bit is set, and so never finds the
/// two equal: such comparisons have to be written in another way.
fn no_negative_comparisons() -> Result<(), String> {
    let bad = calls::negative_comparisons(OBJECT).map_err(|error| error.to_string())?;
    if bad.is_empty() { Ok(()) } else { Err(format!("{bad:?}")) }
}
