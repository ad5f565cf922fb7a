//! What l2xdp refuses to run: it ends with an error that names the thing and the mend, and leaves everything as it was.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::command;
use l2xdp_tests::wire::{Attach, Side, Wire};
use libtest_mimic::Trial;

use crate::bench::{self, Bench, Kind};
use crate::bpf::{self, Hook, PASS_ALL};
use l2xdp_tests::snapshot::Snapshot;

/// Something that is in the way.
pub struct Refusal {
    pub name: &'static str,
    /// What l2xdp is to do; `run --config` of the configuration that follows, if it is to `run`.
    pub command: &'static str,
    pub attach: Attach,
    /// What the configuration has instead of what.
    pub edit: (&'static str, &'static str),
    /// Put in the way, and kept there meanwhile.
    pub obstacle: fn(&Bench) -> Result<Box<dyn Held>>,
    /// Commands to take it away.
    pub after: &'static [&'static str],
    /// What runs the loader.
    pub under: &'static [&'static str],
    /// What the error must say.
    pub says: &'static [&'static str],
}

/// Whatever an obstacle is held by.
pub trait Held {}
impl<T> Held for T {}

/// Nothing is in the way.
pub const NOTHING: Refusal = Refusal {
    name: "",
    command: RUN,
    attach: Attach::Netdev,
    edit: ("", ""),
    obstacle: |_| Ok(Box::new(())),
    after: &[],
    under: &[],
    says: &[],
};

const RUN: &str = "run";

/// Each of them in auto mode, over IPv4.
pub fn trials() -> Vec<Trial> {
    configured().into_iter().chain(occupied()).chain(forbidden()).chain(asked()).map(Refusal::trial).collect()
}

impl Refusal {
    /// The test that it is refused.
    pub fn trial(self) -> Trial {
        bench::trial(format!("refused/{}", self.name), Kind::Silent, move |bench| refused(bench, &self))
    }
}

/// What the configuration names and is not there.
fn configured() -> Vec<Refusal> {
    vec![
        Refusal {
            name: "no-such-port",
            attach: Attach::Port,
            edit: ("eth1", "eth9"),
            says: &["session 3000", "port = \"eth9\"", "no such interface", "ip link"],
            ..NOTHING
        },
        Refusal {
            name: "no-such-bridge",
            edit: ("br0", "br9"),
            says: &["session 3000", "bridge = \"br9\"", "no such interface", "ip link add br9 type bridge"],
            ..NOTHING
        },
        Refusal {
            name: "bridge-that-is-none",
            edit: ("br0", "eth1"),
            says: &["session 3000", "bridge = \"eth1\"", "not a bridge", "ip link add"],
            ..NOTHING
        },
        Refusal {
            name: "address-not-ours",
            edit: ("1.1.1.2", "1.1.1.9"),
            says: &["tunnel 1000", "1.1.1.9", "not an address of this host", "ip address add"],
            ..NOTHING
        },
        Refusal {
            name: "bad-configuration",
            edit: ("udp_sport = 6000", "udp_sport = 0"),
            says: &[".toml:7:13", "tunnel.udp_sport", "from 1 to 65535"],
            ..NOTHING
        },
        Refusal {
            name: "unknown-key",
            edit: ("l2spec_type", "l2spec_typo"),
            says: &["tunnel.session.l2spec_typo", "did you mean l2spec_type?"],
            ..NOTHING
        },
    ]
}

/// What is somebody else's.
fn occupied() -> Vec<Refusal> {
    vec![
        Refusal {
            name: "udp-port-in-use",
            obstacle: |bench| Ok(Box::new(bench.lab.tun01.enter(|| Ok(UdpSocket::bind("1.1.1.2:6000")?))?)),
            says: &["tunnel 1000", "udp_sport = 6000 is in use", "ss -lunp", "another port"],
            ..NOTHING
        },
        Refusal {
            name: "xdp-of-others-on-wan",
            obstacle: |bench| Ok(Box::new(bpf::attach(&bench.lab.tun01, "eth0", Hook::Xdp, PASS_ALL)?)),
            says: &["eth0", "XDP program occupant", "ip link set dev eth0 xdp off", "--xdp-mode tc"],
            ..NOTHING
        },
        Refusal {
            name: "device-of-that-name",
            obstacle: |bench| {
                bench.lab.tun01.run("ip link add l2x0 type veth peer name other")?;
                Ok(Box::new(()))
            },
            after: &["ip link del l2x0"],
            says: &["session 3000", "netdev = \"l2x0\"", "exists", "ip link delete l2x0", "another name"],
            ..NOTHING
        },
        Refusal {
            name: "second-daemon",
            obstacle: |bench| Ok(Box::new(bench.lab.start(&bench.loader, &Wire::new(Attach::Netdev))?)),
            says: &["another l2xdp", "this network namespace", "stop it"],
            ..NOTHING
        },
    ]
}

/// What this process may not do.
fn forbidden() -> Vec<Refusal> {
    vec![
        Refusal {
            name: "without-cap-net-admin",
            under: &["setpriv", "--bounding-set=-net_admin"],
            says: &["CAP_NET_ADMIN is missing", "as root"],
            ..NOTHING
        },
        Refusal {
            name: "without-cap-bpf",
            under: &["setpriv", "--bounding-set=-bpf,-sys_admin"],
            says: &["CAP_BPF is missing", "as root"],
            ..NOTHING
        },
        Refusal {
            name: "ordinary-user",
            under: &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
            says: &["CAP_NET_ADMIN is missing", "as root"],
            ..NOTHING
        },
    ]
}

/// What a daemon, or its absence, does not answer.
fn asked() -> Vec<Refusal> {
    const STANDALONE: fn(&Bench) -> Result<Box<dyn Held>> =
        |bench| Ok(Box::new(bench.lab.start(&bench.loader, &Wire::new(Attach::Netdev))?));
    vec![
        Refusal {
            name: "detach-of-standalone-sessions",
            command: "detach",
            obstacle: STANDALONE,
            says: &["1 sessions", "standalone", "would end", "SIGTERM"],
            ..NOTHING
        },
        Refusal {
            name: "detach-of-nobody",
            command: "detach",
            says: &["no l2xdp runs in this network namespace", "l2xdp run"],
            ..NOTHING
        },
        Refusal {
            name: "show-to-ordinary-user",
            command: "show --json",
            obstacle: STANDALONE,
            under: &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
            says: &["answers to root only"],
            ..NOTHING
        },
        Refusal {
            name: "detach-by-ordinary-user",
            command: "detach",
            obstacle: STANDALONE,
            under: &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
            says: &["answers to root only"],
            ..NOTHING
        },
    ]
}

fn refused(bench: &Bench, refusal: &Refusal) -> Result<()> {
    let lab = &bench.lab;
    lab.remove_bridges();
    lab.add_bridge(Side::One)?;
    let held = (refusal.obstacle)(bench).context("the obstacle")?;
    let before = Snapshot::of(&lab.tun01)?;

    let config = Wire::new(refusal.attach).config(Side::One);
    let (from, to) = refusal.edit;
    ensure!(config.contains(from), "{from:?} is not in the configuration any more");
    let config = if from.is_empty() { config } else { config.replace(from, to) };
    let file = std::env::temp_dir().join(format!("{}.toml", lab.tun01.name()));
    fs::write(&file, config)?;
    let output = command::finish(&mut run(bench, refusal, &file), Duration::from_secs(10));
    fs::remove_file(&file)?;
    let output = output?;

    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it ended with {}: {text}", output.status);
    ensure!(output.stdout.is_empty(), "it printed {}", String::from_utf8_lossy(&output.stdout));
    let last = text.lines().filter(|line| !line.starts_with('[')).collect::<Vec<_>>().join("\n");
    for word in refusal.says {
        ensure!(last.contains(word), "the error does not say “{word}”: {text}");
    }
    before.is_still_that_of(&lab.tun01)?;
    drop(held);
    lab.tun01.run_all(refusal.after.iter().copied())
}

fn run(bench: &Bench, refusal: &Refusal, file: &std::path::Path) -> Command {
    let (program, under) = refusal.under.split_first().unwrap_or((&"env", &[]));
    let mut run = bench.lab.tun01.command(program);
    run.args(under).arg(&bench.loader).args(refusal.command.split(' '));
    if refusal.command == RUN {
        run.arg("--config").arg(file);
    }
    run
}
