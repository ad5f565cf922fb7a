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
    /// `l2xdp run` with sessions of the kernel's that it makes itself.
    Kernel,
    /// `l2xdp accelerate` with sessions that `ip l2tp` made.
    Accelerated,
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
    pub const CANDIDATES: [Self; 3] = [Self::Standalone, Self::Kernel, Self::Accelerated];

    /// As in the names of tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Standalone => "standalone",
            Self::Kernel => "kernel",
            Self::Accelerated => "accelerated",
        }
    }

    /// Whether the kernel has its sessions too, and carries what the programs do not.
    pub fn is_kernels(self) -> bool {
        self != Self::Standalone
    }

    /// Has tun01 carry all sessions of all tunnels.
    pub fn start(self, lab: &Lab) -> Result<Running> {
        let all = || Tunnel::ALL.into_iter();
        if matches!(self, Self::Driver | Self::Accelerated) {
            let file = lab.work.file("sessions");
            fs::write(&file, all().map(Tunnel::batch).collect::<String>())?;
            command::run(lab.tun01.command("ip").arg("-batch").arg(&file), SOON)?;
        }
        // The driver leaves TCP alone, and so do the sessions of the configuration.
        let options = if self == Self::Accelerated { ["--mss", "off"].as_slice() } else { &[] };
        let daemon = self.start_daemon(lab, &all().map(Tunnel::config).collect::<String>(), options)?;
        let driver = || L2tpHandle::new(HandleConfig::default()).context("netlink of L2TP");
        let driver = if daemon.is_none() { Some(lab.tun01.enter(driver)?) } else { None };
        Ok(Running { carrier: self, driver, daemon })
    }

    /// The l2xdp of tun01, if there is to be one; with tunnels that are its own to make, or are there already.
    pub fn start_daemon(self, lab: &Lab, tunnels: &str, options: &[&str]) -> Result<Option<Daemon>> {
        let (loader, files) = (needs::loader()?, lab.work.file(self.name()));
        let run = |backend| {
            let config = format!("backend = \"{backend}\"\n{tunnels}");
            Daemon::start(&lab.tun01, &loader, &config, options, &files)
        };
        match self {
            Self::Driver => Ok(None),
            Self::Standalone => run("standalone").map(Some),
            Self::Kernel => run("kernel").map(Some),
            Self::Accelerated => Daemon::accelerate(&lab.tun01, &loader, options, &files).map(Some),
        }
    }
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
            return sessions.iter().map(|session| self.counted_by_l2xdp(&shown, session)).collect();
        }
        let driver = self.driver.as_ref().context("nobody counts")?;
        sessions.iter().map(|session| counted_by_driver(driver, session)).collect()
    }

    /// How many frames of a session the fast path has sent and received, if there is one.
    pub fn fast(&self, lab: &Lab, session: &Session) -> Result<Option<[u64; 2]>> {
        let Some(daemon) = &self.daemon else { return Ok(None) };
        let shown = daemon.show_json(&lab.tun01)?;
        let fast =
            counters::of_path(&shown, session.id(), "fast").with_context(|| format!("no {session}"))?;
        Ok(Some(["tx_packets", "rx_packets"].map(|name| fast.get(name).copied().unwrap_or_default())))
    }

    /// On both its paths.
    fn counted_by_l2xdp(&self, shown: &Value, session: &Session) -> Result<Counters> {
        let shown = counters::find_session(shown, session.id()).with_context(|| format!("no {session}"))?;
        let [fast, mut slow] = ["fast", "slow"].map(|path| {
            let counted = counters::all(&shown[path]);
            NAMES.map(|name| (name, counted.get(name).copied().unwrap_or_default())).into()
        });
        if self.carrier.is_kernels() {
            without_headers(&mut slow, session);
        }
        Ok(fast.into_iter().map(|(name, count): (_, u64)| (name, count + slow[name])).collect())
    }

    /// Ends it in order.
    pub fn stop(self) -> Result<()> {
        self.daemon.map_or(Ok(()), Daemon::stop)
    }
}

fn counted_by_driver(driver: &L2tpHandle, session: &Session) -> Result<Counters> {
    let stats = driver.session_stats(TunnelId::from(session.tunnel.id()), SessionId::from(session.id()))?;
    let counts = [
        stats.tx_packets,
        stats.tx_bytes,
        stats.tx_errors,
        stats.rx_packets,
        stats.rx_bytes,
        stats.rx_errors,
        stats.rx_cookie_discards,
        stats.rx_seq_discards,
        stats.rx_oos_packets,
        stats.rx_invalid,
    ];
    let mut counters = NAMES.into_iter().zip(counts).collect();
    without_headers(&mut counters, session);
    Ok(counters)
}

/// The driver counts the bytes of L2TP's headers as well.
fn without_headers(counters: &mut Counters, session: &Session) {
    for (packets, bytes, header) in [
        ("tx_packets", "tx_bytes", session.header_sent()),
        ("rx_packets", "rx_bytes", session.header_received()),
    ] {
        let headers = counters[packets] * header as u64;
        counters.entry(bytes).and_modify(|bytes| *bytes -= headers);
    }
}
