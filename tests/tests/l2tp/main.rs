//! The kernel's own L2TP as the judge of l2xdp: both are given the same, and must do the same.

mod arm;
mod bench;
mod carrier;
mod cases;
mod interop;
mod outer;
mod receive;
mod send;
mod session;

use std::process::ExitCode;

use carrier::Carrier;
use l2xdp_tests::{interrupt, needs};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // Two gateways at a time, whose answers are waited for.
    args.test_threads = args.test_threads.or(Some(1));
    let mut trials: Vec<Trial> = Carrier::CANDIDATES
        .into_iter()
        .flat_map(|carrier| [send::trials(carrier), receive::trials(carrier), interop::trials(carrier)])
        .flatten()
        .collect();
    if let Some(reason) = obstacle() {
        trials = trials.into_iter().map(|trial| skipped(trial, &args, &reason)).collect();
    }
    if let Err(error) = interrupt::catch() {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    let conclusion = libtest_mimic::run(&args, trials);
    bench::take_down();
    interop::take_down();
    conclusion.exit_code()
}

/// Why these tests can't run here.
fn obstacle() -> Option<String> {
    needs::missing().or_else(|| (!needs::has_l2tp()).then(|| "this kernel has no L2TP".to_owned()))
}

/// A test that this machine cannot run, with the reason on a line of its own.
fn skipped(trial: Trial, args: &Arguments, reason: &str) -> Trial {
    let asked = args.filter.as_ref().is_none_or(|filter| trial.name().contains(filter));
    if asked && !args.list {
        println!("skipped: {}: {reason}", trial.name());
    }
    trial.with_ignored_flag(true)
}
