//! The lab: two gateways with l2xdp between two hosts, all in network namespaces.

mod contrast;
mod counters;
mod mss;
mod ping;
mod report;
mod transfer;
mod wan;

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use l2xdp_tests::daemon::Gateways;
use l2xdp_tests::interrupt;
use l2xdp_tests::topology::{HOSTS, Lab};
use l2xdp_tests::wire::{self, Mss, Side, Wire};
use report::Report;

/// Which interface of a gateway the pseudowire is attached to.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Attach {
    /// A virtual interface of its own.
    Netdev,
    /// A port of the gateway, whole.
    Port,
}

/// What `cargo xtask run` asks of the lab.
#[derive(Debug)]
pub struct Args {
    /// The loader to run at both gateways.
    pub loader: PathBuf,
    /// Leave the lab standing.
    pub keep: bool,
    /// How the pseudowire is attached.
    pub attach: Attach,
    /// Report in JSON.
    pub json: bool,
}

/// Its namespaces are called l2xdp-host01 and so on.
const PREFIX: &str = "l2xdp";

/// Builds the lab, shows traffic through it and takes it down again.
pub fn run(args: &Args) -> Result<()> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    ensure!(is_root, "the lab needs root, for its network namespaces: run this again as root");
    let _lock = lock()?;
    interrupt::catch()?;

    let mut report = Report::new(args);
    let shown = show(args, &mut report);
    report.finish(shown.is_ok());
    shown?;
    interrupt::check()?;
    ensure!(report.failures() == 0, "the lab failed {} of its checks", report.failures());
    Ok(())
}

/// One lab at a time: they share their names. The kernel lets go of this one when we end, however we end.
fn lock() -> Result<UnixListener> {
    let address = SocketAddr::from_abstract_name("l2xdp-lab")?;
    UnixListener::bind_addr(&address).context("another `cargo xtask run` is at work: wait until it has ended")
}

fn show(args: &Args, report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let lab = Lab::build(PREFIX).context("cannot build the lab")?;
    let wire = wire(args.attach);
    let mut gateways = start_gateways(&lab, args, &wire)?;
    report.say(&format!("up in {:.1} s: {}", start.elapsed().as_secs_f32(), HOSTS.join(" – ")));

    if let Some(clamped) = steps(&lab, &gateways, &wire, report)? {
        gateways.stop()?;
        let unclamped = Wire { mss: Mss::Off, ..wire };
        gateways = start_gateways(&lab, args, &unclamped)?;
        let title = "for contrast, the same transfer with mss = \"off\"";
        report.step("contrast", title, |step| contrast::show(&lab, &gateways, &unclamped, &clamped, step))?;
    }
    if report.failures() > 0 {
        tell_logs(&lab, &gateways, report);
    }
    if args.keep && !interrupt::came() {
        gateways.stop()?;
        start_gateways(&lab, args, &wire)?.keep();
        tell_how_to_enter(&lab, args, report);
        lab.keep();
        return Ok(());
    }
    gateways.stop()
}

fn wire(attach: Attach) -> Wire {
    match attach {
        Attach::Netdev => Wire::new(wire::Attach::Netdev),
        // On a veth l2xdp prefers TC, for what may come without tags or checksums in its bytes; not here.
        Attach::Port => Wire { xdp_mode: "native", ..Wire::new(wire::Attach::Port) },
    }
}

fn start_gateways(lab: &Lab, args: &Args, wire: &Wire) -> Result<Gateways> {
    lab.start(&args.loader, wire).context("cannot start the gateways")
}

/// All that is shown with the clamp on. Without ping there is no point in going on.
fn steps(lab: &Lab, gateways: &Gateways, wire: &Wire, report: &mut Report) -> Result<Option<transfer::Both>> {
    let baseline = counters::Baseline::take(lab, gateways)?;
    let captured = report.step("ping", "ping host01 → host02", |step| ping::show(lab, wire, step))?;
    let Some(captured) = captured else { return Ok(None) };
    let title = "one of its frames on the WAN, as tshark decodes it";
    report.step("wan", title, |step| wan::show(wire, &captured, step))?;

    let title = format!("TCP, {} s each way", transfer::SECONDS);
    let transferred = report.step("tcp", &title, |step| transfer::show(lab, step))?;
    if let Some(transferred) = &transferred {
        let title = "the MSS in the SYNs of both";
        report.step("mss", title, |step| mss::show(wire, &transferred.captures, step))?;
    }
    let title = "the counters of l2xdp show";
    report.step("counters", title, |step| counters::show(lab, gateways, &baseline, step))?;
    Ok(transferred)
}

fn tell_logs(lab: &Lab, gateways: &Gateways, report: &Report) {
    for side in Side::BOTH {
        report.say(&format!("\nthe log of l2xdp at {}:", lab.gateway(side).name()));
        gateways.daemon(side).log().lines().for_each(|line| report.say(&format!("  {line}")));
    }
    report.say("\nTo look around: cargo xtask run --keep");
}

fn tell_how_to_enter(lab: &Lab, args: &Args, report: &Report) {
    report.say("\nThe lab stays up. To enter its hosts:");
    for host in HOSTS {
        report.say(&format!("  nsenter --net=/run/netns/{PREFIX}-{host}"));
    }
    report.say(&format!(
        "On tun01 and tun02: {} show\n\
         Configuration and logs: {}\n\
         The next `cargo xtask run` takes it down, or:\n  \
         for host in {}; do ip netns pids {PREFIX}-$host | xargs -r kill; ip netns del {PREFIX}-$host; done; rm -r {}",
        args.loader.display(),
        lab.work.path().display(),
        HOSTS.join(" "),
        lab.work.path().display(),
    ));
}
