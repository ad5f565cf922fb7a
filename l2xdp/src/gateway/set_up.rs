//! The start: leftovers away, devices made, next hops given time.

use super::carry_out::tell;
use super::{Gateway, Source};
use crate::config::{Attach, Config};
use crate::datapath::{Datapath, Limits};
use crate::devices::{self, Pair};
use crate::observe::{self, Observed};
use crate::reconcile::Made;
use crate::slow_path::SlowPath;
use crate::trace;
use anyhow::{Context, Result, anyhow, bail};
use log::{info, warn};
use rtnetlink::Handle;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;
use tokio::time::sleep;

/// How long a start waits for next hops to answer.
const ANSWER_TURNS: u32 = 20;
const ANSWER_TURN: Duration = Duration::from_millis(50);

impl Gateway {
    /// Everything after loading. What it leaves half done, `stop` undoes.
    pub(super) async fn set_up(&mut self, config: Config) -> Result<()> {
        self.slow_path.read(self.datapath.take_slow_path()?)?;
        if let Source::File(_) = self.source {
            self.observe(&config).await?;
            self.made = Made::left_behind(&self.observed);
            self.found = self.made.clone();
            self.adapt(config).await?;
        }
        self.turn().await?;
        if let Source::Kernel { wan, .. } = &self.source
            && let Some(name) = wan.iter().find(|name| self.observed.link(name).is_none())
        {
            bail!("--wan {name}: there is no such interface; see ip link");
        }
        // A next hop that was not known yet has been asked by now: give it the time to answer.
        for _ in 0..ANSWER_TURNS {
            if !self.plan.waits {
                break;
            }
            sleep(ANSWER_TURN).await;
            self.turn().await?;
        }
        if let Source::Kernel { tunnels, .. } = &self.source {
            for id in tunnels.iter().filter(|id| !self.observed.l2tp.tunnels.contains_key(id)) {
                warn!(
                    "--tunnel {id}: the kernel has no such tunnel yet; its sessions are taken up when they come"
                );
            }
        }
        for (id, trouble) in &self.plan.trouble {
            tell(*id, trouble.as_deref());
        }
        for kept in &self.kept {
            info!("session {} stays on the kernel's path: {}", kept.session.session_id, kept.reason);
        }
        self.started = true;
        Ok(())
    }
}

pub(super) fn check_ports(config: &Config, observed: &Observed) -> Result<()> {
    for session in config.tunnels.iter().flat_map(|tunnel| &tunnel.sessions) {
        let (id, Attach::Port { name, .. }) = (session.session_id, &session.attach) else { continue };
        let port = observed.link(name).ok_or_else(|| anyhow!("session {id}: {}", missing("port", name)))?;
        if port.mac.is_none() {
            bail!("session {id}: port = \"{name}\" is not an Ethernet device; name one that is: see ip link");
        }
    }
    Ok(())
}

/// The devices that must be there before a configuration can run: ports and bridges.
pub fn needed_devices(config: &Config) -> BTreeSet<String> {
    let sessions = config.tunnels.iter().flat_map(|tunnel| &tunnel.sessions);
    let needed = sessions.filter_map(|session| match &session.attach {
        Attach::Netdev { bridge, .. } => bridge.clone(),
        Attach::Port { name, .. } => Some(name.clone()),
    });
    needed.collect()
}

/// Devices and neighbours that a killed run left behind. There is no other run: we hold the control socket.
pub(super) async fn remove_leftovers(netlink: &Handle) -> Result<()> {
    let links = observe::links(netlink).await?;
    let mut gone = HashSet::new();
    for link in links.values().filter(|link| devices::is_ours(link)) {
        // Two ends have one alias, and go together.
        if gone.insert(link.alias.clone()) {
            info!("{}: left behind by a run that was killed; removing it", link.name);
            devices::delete(netlink, &link.name).await?;
        }
    }
    for (&(ifindex, address), _) in observe::neighbours(netlink).await?.iter().filter(|(_, known)| known.ours)
    {
        devices::release_neighbour(netlink, ifindex, address).await?;
    }
    Ok(())
}

/// Room for sessions that appear later, too.
const SPARE_SESSIONS: u32 = 4096;

/// What needs no undoing but to be dropped.
pub(super) async fn load(config: &Config, netlink: &Handle, trace: bool) -> Result<(Datapath, SlowPath)> {
    let sessions = config.tunnels.iter().map(|tunnel| tunnel.sessions.len()).sum::<usize>() as u32;
    let limits =
        Limits { sessions: sessions + SPARE_SESSIONS, ports: config.tunnels.len() as u32 + SPARE_SESSIONS };
    let links = observe::links(netlink).await?;
    let splitter = links.named(Pair::SPLITTER.name);
    let splitter = splitter.with_context(|| missing("splitter", Pair::SPLITTER.name))?;
    let mut datapath = Datapath::load(limits, splitter.ifindex, trace)?;
    if trace {
        trace::start(datapath.ebpf())?;
    }
    Ok((datapath, SlowPath::new()?))
}

fn missing(key: &str, name: &str) -> String {
    format!("{key} = \"{name}\": there is no such interface; see ip link, or create it first")
}
