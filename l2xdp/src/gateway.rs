//! A running gateway: it makes what the [plan] says so, and undoes it at the end.

mod carry_out;
mod set_up;

use crate::attach::{self, Attached};
use crate::config::Config;
use crate::datapath::Datapath;
use crate::devices::{self, Pair};
use crate::observe::{self, Link, Observed};
use crate::plan::{self, Hook, Plan, XdpMode};
use crate::slow_path::SlowPath;
use crate::{sys, xdp_features};
use anyhow::Result;
use genetlink::GenetlinkHandle;
use log::warn;
use rtnetlink::Handle;
pub use set_up::needed_devices;
use set_up::{load, remove_leftovers};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::mem::take;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

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
    pub(crate) slow_path: SlowPath,
    /// The hidden ends of the devices made by us: names that nobody changes.
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
    /// The last turn's trouble.
    said: HashSet<String>,
    /// This turn's.
    saying: HashSet<String>,
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
                if let Err(error) = devices::delete(&netlink, Pair::SPLITTER.wire).await {
                    warn!("{error:#}");
                }
                return Err(error);
            }
        };
        let mut gateway = Self {
            config,
            mode: options.xdp_mode,
            netlink,
            netdev,
            datapath: loaded.0,
            slow_path: loaded.1,
            devices: vec![Pair::SPLITTER.wire.to_owned()],
            hooks: BTreeMap::new(),
            clsact: BTreeSet::new(),
            promiscuous: BTreeMap::new(),
            next_hops: BTreeSet::new(),
            plan: Plan::default(),
            observed: Observed::default(),
            started: false,
            said: HashSet::new(),
            saying: HashSet::new(),
        };
        match gateway.set_up().await {
            Ok(()) => Ok(gateway),
            Err(error) => {
                gateway.stop().await;
                Err(error)
            }
        }
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
        self.said = take(&mut self.saying);
    }

    async fn observe(&mut self) -> Result<()> {
        let mut links = observe::links(&self.netlink).await?;
        let neighbours = observe::neighbours(&self.netlink).await?;
        let mut routes = HashMap::new();
        for tunnel in &self.config.tunnels {
            let query = plan::query(tunnel);
            routes.insert(query, observe::route(&self.netlink, &query).await);
        }
        let ports = plan::ports(&self.config);
        for link in links.values_mut().filter(|link| ports.contains(link.name.as_str())) {
            link.rx_vlan_offload = sys::has_rx_vlan_offload(&link.name).unwrap_or(false);
        }
        let mut observed = Observed { links, neighbours, routes, no_xdp_xmit: HashSet::new() };
        for ifindex in plan::outputs(&self.config, &observed) {
            let known = xdp_features::has_xmit(&mut self.netdev, ifindex).await?;
            // Where the kernel does not say so, we know it only of our own. Told to insist, we believe it of
            // everything but a veth, which needs NAPI at its other end.
            let guess = |link: &Link| devices::is_ours(link) || self.mode == XdpMode::Native && !link.veth;
            if !known.unwrap_or_else(|| observed.links.get(&ifindex).is_none_or(guess)) {
                observed.no_xdp_xmit.insert(ifindex);
            }
        }
        self.observed = observed;
        Ok(())
    }

    /// Logs a trouble, unless the last turn had it too.
    fn say(&mut self, trouble: String) {
        if !self.said.contains(&trouble) {
            warn!("{trouble}");
        }
        self.saying.insert(trouble);
    }

    /// Undoes everything, in reverse.
    pub async fn stop(mut self) {
        self.hooks.clear();
        for &ifindex in self.clsact.iter().filter(|ifindex| self.observed.links.contains_key(ifindex)) {
            if let Err(error) = attach::remove_clsact(&self.netlink, ifindex).await {
                warn!("{}: can't remove clsact: {error:#}", sys::interface_name(ifindex));
            }
        }
        self.promiscuous.clear();
        for name in take(&mut self.devices).iter().rev() {
            // An administrator may have been quicker.
            if let Err(error) = devices::delete(&self.netlink, name).await {
                warn!("{error:#}");
            }
        }
        for (ifindex, address) in take(&mut self.next_hops) {
            let _ = devices::forget_neighbour(&self.netlink, ifindex, address).await;
        }
    }
}
