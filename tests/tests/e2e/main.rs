//! The whole of l2xdp in network namespaces: real daemons, real traffic, and judges that know nothing of l2xdp.

mod bench;
mod daemon_life;
mod differences;
mod following;
mod foreign;
mod matrix;
mod no_l2tp;
mod pcap;
mod raw;
mod refusals;
mod reload;
mod slow;
mod vlan;

use std::process::ExitCode;

use l2xdp_tests::{bpf, frames, interrupt, needs, packet, traffic};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // One topology, two cores, and times that are measured.
    args.test_threads = args.test_threads.or(Some(1));
    let mut trials: Vec<Trial> = [
        matrix::trials,
        raw::trials,
        vlan::trials,
        foreign::trials,
        slow::trials,
        following::trials,
        reload::trials,
        refusals::trials,
        daemon_life::trials,
    ]
    .iter()
    .flat_map(|trials| trials())
    .collect();
    let no_l2tp = no_l2tp::trials().into_iter();
    if needs::has_l2tp() {
        trials.extend(no_l2tp.map(|trial| skipped(trial, &args, "this kernel has L2TP")));
    } else {
        trials.extend(no_l2tp);
    }
    if let Some(reason) = needs::missing() {
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

/// A test that this machine cannot run, with the reason on a line of its own.
fn skipped(trial: Trial, args: &Arguments, reason: &str) -> Trial {
    let asked = args.filter.as_ref().is_none_or(|filter| trial.name().contains(filter));
    if asked && !args.list {
        println!("skipped: {}: {reason}", trial.name());
    }
    trial.with_ignored_flag(true)
}
