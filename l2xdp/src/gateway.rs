//! A running gateway: it makes what the [plan](crate::plan) says so, and undoes it at the end.

use crate::attach::{self, Attached};
use crate::config::{Attach, Config, Session};
use crate::datapath::{Datapath, Limits};
use crate::devices::{self, Pair};
use crate::observe::{self, Link, Observed};
use crate::plan::{self, Hook, Plan, XdpMode};
use crate::sockets::Sockets;
use crate::{sys, trace, underlay, xdp_features};
use anyhow::{Context, Result, anyhow, bail};
use genetlink::GenetlinkHandle;
use log::{info, warn};
use rtnetlink::Handle;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::time::sleep;

/// How a configuration is to be run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// Where to use XDP.
    #[arg(long, value_enum, default_value_t)]
    pub xdp_mode: XdpMode,
    /// Log every packet that leaves the fast path, with the reason: for finding out, not for leaving on.
    #[arg(long)]
    pub trace: bool,
}

/// All that a run of l2xdp has set up.
pub struct Gateway {
    pub(crate) config: Config,
    mode: XdpMode,
    netlink: Handle,
    netdev: GenetlinkHandle,
    pub(crate) datapath: Datapath,
    pub(crate) sockets: Sockets,
    /// Pseudowire devices made by us, by name.
    devices: Vec<String>,
    /// Programs attached by us. `None`: the device can't.
    pub(crate) hooks: BTreeMap<Hook, Option<Attached>>,
    /// Devices whose clsact qdisc was added by us.
    clsact: BTreeSet<u32>,
    promiscuous: BTreeMap<u32, OwnedFd>,
    next_hops: BTreeSet<(u32, IpAddr)>,
    /// The last plan that was carried out.
    pub(crate) plan: Plan,
    pub(crate) observed: Observed,
    /// From then on trouble is logged, and does not end the run.
    started: bool,
    /// Trouble that was logged, to say it once.
    said: HashSet<String>,
}

impl Gateway {
    /// Sets everything up. If anything fails, everything is undone.
    ///
    /// # Errors
    /// What failed, where, and the mend.
    pub async fn start(
        config: Config,
        options: Options,
        netlink: Handle,
        netdev: GenetlinkHandle,
    ) -> Result<Self> {
        remove_leftovers(&netlink).await?;
        devices::create(&netlink, &Pair::SPLITTER).await?;
        let loaded = match load(&config, &netlink, options.trace).await {
            Ok(loaded) => loaded,
            Err(error) => {
                devices::delete(&netlink, Pair::SPLITTER.name).await?;
                return Err(error);
            }
        };
        let mut gateway = Self {
            config,
            mode: options.xdp_mode,
            netlink,
            netdev,
            datapath: loaded.0,
            sockets: loaded.1,
            devices: vec![Pair::SPLITTER.name.to_owned()],
            hooks: BTreeMap::new(),
            clsact: BTreeSet::new(),
            promiscuous: BTreeMap::new(),
            next_hops: BTreeSet::new(),
            plan: Plan::default(),
            observed: Observed::default(),
            started: false,
            said: HashSet::new(),
        };
        match gateway.set_up().await {
            Ok(()) => Ok(gateway),
            Err(error) => {
                gateway.stop().await;
                Err(error)
            }
        }
    }

    async fn set_up(&mut self) -> Result<()> {
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
                    None => bail!("port = \"{name}\" is not an Ethernet device"),
                };
            }
            Attach::Netdev { name, bridge } => (name, bridge),
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
                    bail!("bridge = \"{bridge}\" is not a bridge");
                }
                Some(link.ifindex)
            }
            None => None,
        };
        let pair = Pair {
            name,
            wire: &devices::wire_name(session.session_id),
            purpose: &format!("session {}", session.session_id),
            mtu: plan::device_mtu(session, path_mtu),
            gso_max_segs: None,
            bridge,
        };
        self.create(&pair).await
    }

    async fn create(&mut self, pair: &Pair<'_>) -> Result<()> {
        devices::create(&self.netlink, pair).await?;
        self.devices.push(pair.name.to_owned());
        Ok(())
    }

    /// Follows the kernel: looks again, plans again, carries out what is new. Trouble is logged, and the rest goes on.
    pub async fn follow(&mut self) {
        let result = match self.observe().await {
            Ok(()) => self.carry_out().await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.say(format!("{error:#}"));
        }
    }

    async fn observe(&mut self) -> Result<()> {
        let links = observe::links(&self.netlink).await?;
        let neighbours = observe::neighbours(&self.netlink).await?;
        let mut routes = HashMap::new();
        for tunnel in &self.config.tunnels {
            let query = plan::query(tunnel);
            routes.insert(query, observe::route(&self.netlink, &query).await);
        }
        let mut observed = Observed { links, neighbours, routes, no_xdp_xmit: HashSet::new() };
        for ifindex in plan::outputs(&self.config, &observed) {
            let known = xdp_features::has_xmit(&mut self.netdev, ifindex).await?;
            // A veth takes XDP's frames only if its other end has NAPI. Where the kernel does not say so, we know it
            // only of our own.
            let guess = |link: &Link| !link.veth || devices::is_ours(link);
            if !known.unwrap_or_else(|| observed.links.get(&ifindex).is_none_or(guess)) {
                observed.no_xdp_xmit.insert(ifindex);
            }
        }
        self.observed = observed;
        Ok(())
    }

    /// Makes the data path what the plan says. Until the gateway has started, what can't be attached is
    /// an error; later it is logged.
    async fn carry_out(&mut self) -> Result<()> {
        let new = plan::plan(&self.config, self.mode, &self.observed);
        self.follow_next_hops(&new).await;
        for (&ifindex, &mtu) in &new.mtus {
            if self.plan.mtus.get(&ifindex).is_some_and(|&old| old != mtu) {
                devices::set_mtu(&self.netlink, ifindex, mtu).await?;
            }
        }
        self.fill_maps(&new)?;
        self.attach(&new)?;
        for (id, trouble) in &new.trouble {
            if self.started && self.plan.trouble.get(id) != Some(trouble) {
                tell(*id, trouble.as_deref());
            }
        }
        self.plan = new;
        Ok(())
    }

    async fn follow_next_hops(&mut self, new: &Plan) {
        for &(ifindex, address) in new.next_hops.difference(&self.next_hops.clone()) {
            let permanent = self.observed.neighbours.get(&(ifindex, address)).is_some_and(|n| n.permanent);
            if !permanent {
                match devices::manage_neighbour(&self.netlink, ifindex, address).await {
                    Ok(()) => _ = self.next_hops.insert((ifindex, address)),
                    Err(error) => self.say(format!("{error:#}")),
                }
            }
        }
        let old: Vec<_> = self.next_hops.difference(&new.next_hops).copied().collect();
        for (ifindex, address) in old {
            self.next_hops.remove(&(ifindex, address));
            // It may have gone with its device.
            let _ = devices::forget_neighbour(&self.netlink, ifindex, address).await;
        }
    }

    fn fill_maps(&mut self, new: &Plan) -> Result<()> {
        for (key, session) in &new.tx {
            if self.plan.tx.get(key) != Some(session) {
                self.datapath.set_tx(key, Some(session))?;
            }
        }
        for (&id, session) in &new.rx {
            if self.plan.rx.get(&id) != Some(session) {
                self.datapath.set_rx(id, Some(session))?;
            }
        }
        for key in self.plan.tx.keys().filter(|key| !new.tx.contains_key(key)) {
            self.datapath.set_tx(key, None)?;
        }
        for &id in self.plan.rx.keys().filter(|id| !new.rx.contains_key(id)) {
            self.datapath.set_rx(id, None)?;
        }
        Ok(())
    }

    fn attach(&mut self, new: &Plan) -> Result<()> {
        self.hooks.retain(|hook, _| new.hooks.contains(hook));
        self.promiscuous.retain(|ifindex, _| new.promiscuous.contains(ifindex));
        for &ifindex in &new.promiscuous {
            if !self.promiscuous.contains_key(&ifindex) {
                let socket = sys::promiscuous(ifindex)
                    .with_context(|| format!("interface {ifindex}: can't make it promiscuous"))?;
                self.promiscuous.insert(ifindex, socket);
            }
        }
        for hook in &new.hooks {
            if self.hooks.contains_key(hook) {
                continue;
            }
            let Some(link) = self.observed.links.get(&hook.ifindex).cloned() else { continue };
            let attached = match attach::attach(&mut self.datapath, hook, &link) {
                Ok(attached) => Some(attached),
                Err(refused) if refused.unsupported && self.mode == XdpMode::Auto => {
                    info!("{:#}; TC does its work", refused.error);
                    None
                }
                Err(refused) if !self.started => return Err(refused.error),
                Err(refused) => {
                    self.say(format!("{:#}", refused.error));
                    continue;
                }
            };
            if let Some(Attached::Tc { clsact_added: true, .. }) = attached {
                self.clsact.insert(hook.ifindex);
            }
            self.hooks.insert(*hook, attached);
        }
        Ok(())
    }

    /// Logs a trouble once.
    fn say(&mut self, trouble: String) {
        if !self.said.contains(&trouble) {
            warn!("{trouble}");
            self.said.insert(trouble);
        }
    }

    /// Undoes everything, in reverse.
    pub async fn stop(mut self) {
        self.hooks.clear();
        for &ifindex in self.clsact.iter().filter(|ifindex| self.observed.links.contains_key(ifindex)) {
            if let Err(error) = attach::remove_clsact(&self.netlink, ifindex).await {
                info!("interface {ifindex}: can't remove clsact: {error:#}");
            }
        }
        self.promiscuous.clear();
        for name in std::mem::take(&mut self.devices).iter().rev() {
            // An administrator may have been quicker.
            if let Err(error) = devices::delete(&self.netlink, name).await {
                info!("{error:#}");
            }
        }
        for (ifindex, address) in std::mem::take(&mut self.next_hops) {
            let _ = devices::forget_neighbour(&self.netlink, ifindex, address).await;
        }
    }
}

/// Devices that a killed run left behind. There is no other run: we hold the control socket.
async fn remove_leftovers(netlink: &Handle) -> Result<()> {
    let links = observe::links(netlink).await?;
    let mut gone = HashSet::new();
    for link in links.values().filter(|link| devices::is_ours(link)) {
        // Two ends have one alias, and go together.
        if gone.insert(link.alias.clone()) {
            info!("{}: left behind by a run that was killed; removing it", link.name);
            devices::delete(netlink, &link.name).await?;
        }
    }
    Ok(())
}

/// What needs no undoing but to be dropped.
async fn load(config: &Config, netlink: &Handle, trace: bool) -> Result<(Datapath, Sockets)> {
    let sockets = Sockets::open(&config.tunnels)?;
    let sessions = config.tunnels.iter().map(|tunnel| tunnel.sessions.len()).sum::<usize>() as u32;
    let limits = Limits { sessions, ports: config.tunnels.len() as u32 };
    let links = observe::links(netlink).await?;
    let splitter = links.values().find(|link| link.name == Pair::SPLITTER.name);
    let splitter = splitter.with_context(|| missing("splitter", Pair::SPLITTER.name))?;
    let mut datapath = Datapath::load(limits, splitter.ifindex, trace)?;
    if trace {
        trace::start(datapath.ebpf())?;
    }
    Ok((datapath, sockets))
}

/// How long a start waits for next hops to answer.
const ANSWER_TURNS: u32 = 20;
const ANSWER_TURN: Duration = Duration::from_millis(50);

fn tell(session_id: u32, trouble: Option<&str>) {
    match trouble {
        Some(trouble) => warn!("session {session_id}: {trouble}"),
        None => info!("session {session_id}: up"),
    }
}

fn missing(key: &str, name: &str) -> String {
    format!("{key} = \"{name}\": there is no such interface; see ip link, or create it first")
}
