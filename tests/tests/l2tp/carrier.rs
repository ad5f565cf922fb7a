//! Who carries the gateway's sessions: the kernel's driver alone, or l2xdp in one of its ways.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use l2tp::blocking::L2tpHandle;
use l2tp::{HandleConfig, SessionId, TunnelId};
use l2xdp_tests::command::{self, SOON};
use l2xdp_tests::counters;
use l2xdp_tests::daemon::Daemon;
use l2xdp_tests::needs;
use l2xdp_tests::topology::Lab;
use serde_json::Value;

use crate::session::{Session, Tunnel};

/// Who carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `l2tp_eth` with `ip l2tp`: the oracle.
    Driver,
    /// `l2xdp run` with devices of its own.
    Standalone,
}

/// A carrier at work at a gateway.
pub struct Running {
    carrier: Carrier,
    driver: Option<L2tpHandle>,
    daemon: Option<Daemon>,
}

/// By the kernel's names, bytes being those of inner frames.
pub type Counters = BTreeMap<&'static str, u64>;

const NAMES: [&str; 10] = [
    "tx_packets",
    "tx_bytes",
    "tx_errors",
    "rx_packets",
    "rx_bytes",
    "rx_errors",
    "rx_cookie_discards",
    "rx_seq_discards",
    "rx_oos_packets",
    "rx_invalid",
];

impl Carrier {
    /// Those that stand against the oracle.
    pub const CANDIDATES: [Self; 1] = [Self::Standalone];

    /// As in the names of tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Standalone => "standalone",
        }
    }

    /// Has tun01 carry all sessions of all tunnels.
    pub fn start(self, lab: &Lab) -> Result<Running> {
        let mut running = Running { carrier: self, driver: None, daemon: None };
        match self {
            Self::Driver => running.driver = Some(add_sessions(lab)?),
            Self::Standalone => running.daemon = Some(run(lab)?),
        }
        Ok(running)
    }
}

/// Every session of every tunnel, in the kernel.
fn add_sessions(lab: &Lab) -> Result<L2tpHandle> {
    let batch: String = Tunnel::ALL.into_iter().map(Tunnel::batch).collect();
    let file = lab.work.file("sessions");
    fs::write(&file, batch)?;
    command::run(lab.tun01.command("ip").arg("-batch").arg(&file), SOON)?;
    lab.tun01.enter(|| L2tpHandle::new(HandleConfig::default()).context("netlink of L2TP"))
}

fn run(lab: &Lab) -> Result<Daemon> {
    let config: String = Tunnel::ALL.into_iter().map(Tunnel::config).collect();
    Daemon::start(&lab.tun01, &needs::loader()?, &config, &[], &lab.work.file("l2xdp"))
}

impl Running {
    /// Who it is.
    pub fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// What it has counted of some sessions, in their order.
    pub fn counters(&self, lab: &Lab, sessions: &[Session]) -> Result<Vec<Counters>> {
        if let Some(daemon) = &self.daemon {
            let shown = daemon.show_json(&lab.tun01)?;
            return sessions.iter().map(|session| counted_by_l2xdp(&shown, session)).collect();
        }
        let driver = self.driver.as_ref().context("nobody counts")?;
        sessions.iter().map(|session| counted_by_driver(driver, session)).collect()
    }

    /// Ends it in order.
    pub fn stop(self) -> Result<()> {
        self.daemon.map_or(Ok(()), Daemon::stop)
    }
}

fn counted_by_l2xdp(shown: &Value, session: &Session) -> Result<Counters> {
    let counted = counters::of_session(shown, session.id()).with_context(|| format!("no {session}"))?;
    Ok(NAMES.into_iter().map(|name| (name, counted.get(name).copied().unwrap_or_default())).collect())
}

/// The driver counts L2TP's header as well.
fn counted_by_driver(driver: &L2tpHandle, session: &Session) -> Result<Counters> {
    let stats = driver.session_stats(TunnelId::from(session.tunnel.id()), SessionId::from(session.id()))?;
    let inner = |bytes: u64, packets: u64, header: usize| bytes - packets * header as u64;
    let counts = [
        stats.tx_packets,
        inner(stats.tx_bytes, stats.tx_packets, session.header_sent()),
        stats.tx_errors,
        stats.rx_packets,
        inner(stats.rx_bytes, stats.rx_packets, session.header_received()),
        stats.rx_errors,
        stats.rx_cookie_discards,
        stats.rx_seq_discards,
        stats.rx_oos_packets,
        stats.rx_invalid,
    ];
    Ok(NAMES.into_iter().zip(counts).collect())
}
