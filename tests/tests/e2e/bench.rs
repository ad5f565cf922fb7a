//! What all tests share: the labs, which stay up while daemons come and go, and the loader.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use l2xdp_tests::topology::Lab;
use l2xdp_tests::{interrupt, needs, topology};
use libtest_mimic::{Failed, Trial};

/// A lab, and the loader to run at its gateways.
pub struct Bench {
    pub lab: Lab,
    pub loader: PathBuf,
}

/// The labs there can be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Hosts with addresses.
    Talking,
    /// Hosts without: nothing moves but what a test sends.
    Silent,
    /// Hosts with addresses, for one test alone, which may take apart what it likes.
    Own,
}

static TALKING: Mutex<Option<Bench>> = Mutex::new(None);
static OWN: Mutex<Option<Bench>> = Mutex::new(None);
static SILENT: Mutex<Option<Bench>> = Mutex::new(None);

const PREFIX: &str = "l2xdp-e2e";

/// A test in such a lab, which is built if it is not up yet. One that failed leaves no lab behind.
pub fn trial(
    name: impl Into<String>,
    kind: Kind,
    test: impl FnOnce(&Bench) -> Result<()> + Send + 'static,
) -> Trial {
    Trial::test(name, move || {
        let mut bench = locked(kind);
        let result = built(&mut bench, kind).and_then(|bench| {
            interrupt::check()?;
            test(bench).with_context(|| logs(&bench.lab))
        });
        if result.is_err() || kind == Kind::Own {
            *bench = None;
        }
        result.map_err(|error| Failed::from(told(&error)))
    })
}

/// Takes the labs down.
pub fn take_down() {
    for kind in [Kind::Talking, Kind::Silent, Kind::Own] {
        *locked(kind) = None;
    }
}

fn locked(kind: Kind) -> MutexGuard<'static, Option<Bench>> {
    let lab = match kind {
        Kind::Talking => &TALKING,
        Kind::Silent => &SILENT,
        Kind::Own => &OWN,
    };
    // A test that panicked leaves a lab that the next one can do with.
    lab.lock().unwrap_or_else(PoisonError::into_inner)
}

fn built(bench: &mut Option<Bench>, kind: Kind) -> Result<&Bench> {
    if bench.is_none() {
        topology::remove_leftovers(PREFIX)?;
        *bench = Some(build(kind)?);
    }
    bench.as_ref().context("the lab was just built")
}

fn build(kind: Kind) -> Result<Bench> {
    let loader = needs::loader()?;
    let id = process::id();
    let lab = match kind {
        Kind::Talking => Lab::build(&format!("{PREFIX}{id}t")),
        Kind::Own => Lab::build(&format!("{PREFIX}{id}o")),
        Kind::Silent => Lab::build_silent(&format!("{PREFIX}{id}s")),
    };
    let lab = lab.context("cannot build the lab")?;
    if matches!(kind, Kind::Silent) {
        // Pseudowire devices are to say nothing of their own either.
        for gateway in [&lab.tun01, &lab.tun02] {
            gateway.set("ipv6/conf/default/disable_ipv6", "1")?;
        }
    }
    Ok(Bench { lab, loader })
}

/// The last lines of the daemons' logs.
fn logs(lab: &Lab) -> String {
    let mut text = "the daemons' logs:".to_owned();
    for gateway in [&lab.tun01, &lab.tun02] {
        let log = lab.work.path().join(gateway.name()).with_extension("log");
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let _ = write!(text, "\n  {}:", gateway.name());
        for line in &lines[lines.len().saturating_sub(8)..] {
            let _ = write!(text, "\n    {line}");
        }
    }
    text
}

/// What went wrong first, with the logs last.
fn told(error: &anyhow::Error) -> String {
    let mut chain: Vec<_> = error.chain().map(ToString::to_string).collect();
    if chain.len() > 1 {
        chain.rotate_left(1);
        let logs = chain.pop().unwrap_or_default();
        return format!("{}\n{logs}", chain.join(": "));
    }
    chain.join(": ")
}
