//! What the tests share: a lab that stays up, without tunnels at the start of each.

use std::path::PathBuf;
use std::process;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use l2xdp::control::{Answer, Question, ask};
use l2xdp::show::{SessionStatus, Status};
use l2xdp_tests::daemon::Daemon;
use l2xdp_tests::netns::Namespace;
use l2xdp_tests::topology::{self, Lab};
use l2xdp_tests::wire::Side;
use l2xdp_tests::{interrupt, needs};
use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;

use crate::operator;

/// The lab, and the loader to run at its gateways.
pub struct Bench {
    pub lab: Lab,
    pub loader: PathBuf,
}

static BENCH: Mutex<Option<Bench>> = Mutex::new(None);

const PREFIX: &str = "l2xdp-ad";
/// Many sessions are many devices, one after the other.
const END: Duration = Duration::from_secs(30);

/// A test in the lab. One that failed leaves no lab behind.
pub fn trial(name: &str, test: fn(&Bench) -> Result<()>) -> Trial {
    Trial::test(name, move || {
        let mut bench = BENCH.lock().unwrap_or_else(PoisonError::into_inner);
        let result = ready(&mut bench).and_then(|bench| test(bench).with_context(|| bench.logs()));
        if result.is_err() {
            *bench = None;
        }
        result.map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// Takes the lab down.
pub fn take_down() {
    *BENCH.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

fn ready(bench: &mut Option<Bench>) -> Result<&Bench> {
    interrupt::check()?;
    match bench {
        Some(bench) => bench.clean()?,
        None => *bench = Some(Bench::build()?),
    }
    bench.as_ref().context("it was just built")
}

impl Bench {
    fn build() -> Result<Self> {
        topology::remove_leftovers(PREFIX)?;
        let lab = Lab::build(&format!("{PREFIX}{}", process::id())).context("cannot build the lab")?;
        for gateway in [&lab.tun01, &lab.tun02] {
            // Pseudowire devices are to say nothing of their own.
            gateway.set("ipv6/conf/default/disable_ipv6", "1")?;
        }
        Ok(Self { lab, loader: needs::loader()? })
    }

    fn clean(&self) -> Result<()> {
        self.lab.remove_bridges();
        Side::BOTH.into_iter().try_for_each(|side| operator::remove_tunnels(self.lab.gateway(side)))
    }

    /// Starts `l2xdp accelerate` at a gateway.
    pub fn accelerate(&self, side: Side, arguments: &[&str]) -> Result<Daemon> {
        let gateway = self.lab.gateway(side);
        Daemon::accelerate(gateway, &self.loader, arguments, &self.lab.work.file(gateway.name()))
    }

    /// Starts `l2xdp run` at a gateway.
    pub fn run(&self, side: Side, config: &str) -> Result<Daemon> {
        let gateway = self.lab.gateway(side);
        Daemon::start(gateway, &self.loader, config, &[], &self.lab.work.file(gateway.name()))
    }

    /// The last lines of the daemons' logs.
    fn logs(&self) -> String {
        let last = |gateway: &Namespace| {
            let log = self.lab.work.file(gateway.name()).with_extension("log");
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            format!("{}: {}", gateway.name(), lines[lines.len().saturating_sub(8)..].join("\n    "))
        };
        format!("(the daemons' logs:\n  {}\n  {})", last(&self.lab.tun01), last(&self.lab.tun02))
    }
}

/// Ends a daemon as an operator would; it must succeed in that.
pub fn end(mut daemon: Daemon) -> Result<()> {
    daemon.process().signal(Signal::SIGTERM)?;
    let status = daemon.process().await_end(END)?;
    ensure!(status.success(), "the daemon ended with {status}: {}", daemon.log());
    Ok(())
}

/// What `l2xdp show` shows.
pub fn status(gateway: &Namespace) -> Result<Status> {
    match gateway.enter(|| ask(Question::Show))? {
        Answer::Status(status) => Ok(status),
        other => Err(anyhow::anyhow!("no status: {other:?}")),
    }
}

/// Of this session.
pub fn session(gateway: &Namespace, id: u32) -> Result<SessionStatus> {
    let shown = status(gateway)?.sessions.into_iter().find(|session| session.session_id == id);
    shown.with_context(|| format!("session {id} is not shown"))
}

/// The fast path has this session.
pub fn is_fast(gateway: &Namespace, id: u32) -> Result<()> {
    let trouble = session(gateway, id)?.trouble;
    ensure!(trouble.is_none(), "session {id} is not on the fast path: {trouble:?}");
    Ok(())
}

/// The fast path does not have this session, for this reason.
pub fn is_kept(gateway: &Namespace, id: u32, reason: &str) -> Result<()> {
    let trouble = session(gateway, id)?.trouble.unwrap_or_default();
    ensure!(trouble.contains(reason), "session {id}: “{trouble}” is shown, not “{reason}”");
    Ok(())
}
