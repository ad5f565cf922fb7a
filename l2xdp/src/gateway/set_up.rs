//! The start: leftovers away, devices made, next hops given time.

use super::Gateway;
use super::carry_out::tell;
use crate::config::{Attach, Config, Session};
use crate::datapath::{Datapath, Limits};
use crate::devices::{self, Pair};
use crate::slow_path::SlowPath;
use crate::{observe, plan, trace, underlay};
use anyhow::{Context, Result, anyhow, bail};
use log::info;
use rtnetlink::Handle;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;
use tokio::time::sleep;

/// How long a start waits for next hops to answer.
const ANSWER_TURNS: u32 = 20;
const ANSWER_TURN: Duration = Duration::from_millis(50);

impl Gateway {
    /// Everything after loading. What it leaves half done, `stop` undoes.
    pub(super) async fn set_up(&mut self) -> Result<()> {
        self.observe().await?;
        for tunnel in &self.config.tunnels {
            self.datapath.add_port(tunnel.udp_sport)?;
        }
        let sessions: Vec<_> =
            self.sessions().map(|(path_mtu, session)| (path_mtu, session.clone())).collect();
        for (path_mtu, session) in &sessions {
            self.make_device(*path_mtu, session)
                .await
                .with_context(|| format!("session {}", session.session_id))?;
        }
        self.observe().await?;
        self.carry_out().await?;
        // A next hop that was not known yet has been asked by now: give it the time to answer.
        for _ in 0..ANSWER_TURNS {
            if self.plan.trouble.values().all(Option::is_none) {
                break;
            }
            sleep(ANSWER_TURN).await;
            self.observe().await?;
            self.carry_out().await?;
        }
        for (id, trouble) in &self.plan.trouble {
            tell(*id, trouble.as_deref());
        }
        self.started = true;
        Ok(())
    }

    /// All sessions, each with its path's MTU.
    fn sessions(&self) -> impl Iterator<Item = (Option<u32>, &Session)> {
        self.config.tunnels.iter().flat_map(|tunnel| {
            let mtu =
                underlay::resolve(&self.observed, &plan::query(tunnel)).ok().map(|underlay| underlay.mtu);
            tunnel.sessions.iter().map(move |session| (mtu, session))
        })
    }

    async fn make_device(&mut self, path_mtu: Option<u32>, session: &Session) -> Result<()> {
        let (name, bridge) = match &session.attach {
            Attach::Port { name, .. } => {
                let port = self.observed.link(name).ok_or_else(|| anyhow!(missing("port", name)))?;
                return match port.mac {
                    Some(_) => Ok(()),
                    None => {
                        bail!("port = \"{name}\" is not an Ethernet device; name one that is: see ip link")
                    }
                };
            }
            Attach::Netdev { name, bridge } => (name.as_ref().context("a name")?, bridge),
        };
        if self.observed.link(name).is_some() {
            bail!(
                "netdev = \"{name}\": a device of that name exists; remove it (ip link delete {name}) or choose \
                 another name"
            );
        }
        let bridge = match bridge {
            Some(bridge) => {
                let link = self.observed.link(bridge).ok_or_else(|| anyhow!(missing("bridge", bridge)))?;
                if !link.bridge {
                    bail!(
                        "bridge = \"{bridge}\" is not a bridge; name one, or make one: ip link add NAME type bridge"
                    );
                }
                Some(link.ifindex)
            }
            None => None,
        };
        let pair = Pair {
            name,
            wire: &devices::wire_name(session.session_id),
            purpose: &devices::purpose(session.session_id),
            mtu: plan::device_mtu(session, path_mtu),
            split: false,
            bridge,
        };
        self.create(&pair).await
    }

    async fn create(&mut self, pair: &Pair<'_>) -> Result<()> {
        devices::create(&self.netlink, pair).await?;
        self.devices.push(pair.wire.to_owned());
        Ok(())
    }
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
        devices::forget_neighbour(netlink, ifindex, address).await?;
    }
    Ok(())
}

/// What needs no undoing but to be dropped.
pub(super) async fn load(config: &Config, netlink: &Handle, trace: bool) -> Result<(Datapath, SlowPath)> {
    let mut slow_path = SlowPath::new()?;
    slow_path.bind(&config.tunnels)?;
    let sessions = config.tunnels.iter().map(|tunnel| tunnel.sessions.len()).sum::<usize>() as u32;
    let limits = Limits { sessions, ports: config.tunnels.len() as u32 };
    let links = observe::links(netlink).await?;
    let splitter = links.values().find(|link| link.name == Pair::SPLITTER.name);
    let splitter = splitter.with_context(|| missing("splitter", Pair::SPLITTER.name))?;
    let mut datapath = Datapath::load(limits, splitter.ifindex, trace)?;
    if trace {
        trace::start(datapath.ebpf())?;
    }
    Ok((datapath, slow_path))
}

fn missing(key: &str, name: &str) -> String {
    format!("{key} = \"{name}\": there is no such interface; see ip link, or create it first")
}
