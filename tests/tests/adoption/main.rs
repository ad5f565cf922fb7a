//! The kernel's tunnels and sessions in l2xdp's hands: read, made, changed, accelerated, given back, written down; and
//! those of others left alone. The judges are `ip l2tp` and traffic.

mod accelerate;
mod bench;
mod configured;
mod imported;
mod kinds;
mod live;
mod loops;
mod operator;
mod reasons;
mod talk;

use std::process::ExitCode;

use l2xdp_tests::{interrupt, needs};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // One lab, and times that are measured.
    args.test_threads = args.test_threads.or(Some(1));
    let groups = [
        live::trials,
        configured::trials,
        accelerate::trials,
        reasons::trials,
        imported::trials,
        loops::trials,
    ];
    let mut trials: Vec<Trial> = groups.iter().flat_map(|trials| trials()).collect();
    if let Some(reason) = obstacle() {
        trials = trials.into_iter().map(|trial| skipped(trial, &args, &reason)).collect();
    }
    if let Err(error) = interrupt::catch() {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    let conclusion = libtest_mimic::run(&args, trials);
    bench::take_down();
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
