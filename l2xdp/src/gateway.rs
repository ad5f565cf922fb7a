//! A running gateway: it makes what the [plan] says so, and undoes it at the end.

mod carry_out;
mod kernel;
mod set_up;

use crate::adopt::{self, Kept};
use crate::attach::{self, Attached};
use crate::config::{Attach, Backend, Config, Encap};
use crate::datapath::Datapath;
use crate::devices::{self, Pair};
use crate::l2tp::L2tp;
use crate::observe::{Observed, Observer};
use crate::plan::{self, Hook, Plan, Wish, XdpMode};
use crate::reconcile::{self, Desired, Made, Step};
use crate::slots::Slots;
use crate::slow_path::SlowPath;
use crate::sys;
use anyhow::{Result, bail};
use kernel::Kernel;
use l2xdp_common::pseudowire::Mss;
use log::warn;
pub use set_up::needed_devices;
use set_up::{check_ports, load, remove_leftovers};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem::take;
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

/// What is to be run.
#[derive(Clone, Debug)]
pub enum Source {
    /// A configuration.
    File(Config),
    /// Sessions of the kernel's that somebody else has made, and takes care of.
    Kernel {
        /// Of these tunnels; of all, if there is none.
        tunnels: BTreeSet<u32>,
        /// The devices that messages come in on; none: those of the routes to the peers.
        wan: Vec<String>,
        /// The MSS clamp.
        mss: Mss,
    },
}

impl Source {
    /// Is the kernel's L2TP to be used, if there is one?
    pub fn wants_l2tp(&self) -> bool {
        match self {
            Self::File(config) => config.tunnels.iter().any(|tunnel| tunnel.backend != Backend::Standalone),
            Self::Kernel { .. } => true,
        }
    }
}

/// How long packets may be under way between two of our programs: in the queues of a veth, and waiting for its softirq on a
/// CPU that has much else to do.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// All that a run of l2xdp has set up.
pub struct Gateway {
    source: Source,
    /// What the data path is to hold, backends settled.
    pub(crate) config: Config,
    /// Sessions of the kernel's that the fast path can't have.
    pub(crate) kept: Vec<Kept>,
    mode: XdpMode,
    observer: Observer,
    pub(crate) datapath: Datapath,
    pub(crate) slow_path: SlowPath,
    /// Tunnels, sessions and devices made by us.
    pub(crate) made: Made,
    /// Those of them that were there at the start, left behind by another run.
    found: Made,
    pub(crate) slots: Slots,
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
    pub async fn start(source: Source, options: Options, observer: Observer) -> Result<Self> {
        let config = match &source {
            Source::File(config) => settle(config.clone(), observer.l2tp.is_some())?,
            Source::Kernel { .. } if observer.l2tp.is_none() => bail!(
                "this kernel has no L2TP, so there is nothing to accelerate: modprobe l2tp_eth, or l2xdp run with a \
                 configuration"
            ),
            Source::Kernel { .. } => Config { tunnels: Vec::new() },
        };
        let netlink = &observer.netlink;
        remove_leftovers(netlink).await?;
        devices::create(netlink, &Pair::SPLITTER).await?;
        let loaded = match load(&config, netlink, options.trace).await {
            Ok(loaded) => loaded,
            Err(error) => {
                if let Err(error) = devices::delete(netlink, Pair::SPLITTER.wire).await {
                    warn!("{error:#}");
                }
                return Err(error);
            }
        };
        let mut gateway = Self {
            source,
            config: Config { tunnels: Vec::new() },
            kept: Vec::new(),
            mode: options.xdp_mode,
            observer,
            slots: Slots::new(loaded.0.room()),
            datapath: loaded.0,
            slow_path: loaded.1,
            made: Made::default(),
            found: Made::default(),
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
        match gateway.set_up(config).await {
            Ok(()) => Ok(gateway),
            Err(error) => {
                // What a run before this one has left goes on as it did.
                let found = take(&mut gateway.found);
                gateway.made.sessions.retain(|key, _| !found.sessions.contains_key(key));
                gateway.made.tunnels.retain(|id| !found.tunnels.contains(id));
                gateway.stop().await;
                Err(error)
            }
        }
    }

    /// Follows the kernel: looks again, plans again, carries out what is new. Trouble is logged, and the rest goes on.
    pub async fn follow(&mut self) {
        if let Err(error) = self.turn().await {
            self.say(format!("{error:#}"));
        }
        self.said = take(&mut self.saying);
    }

    /// Runs another configuration from now on. What stays the same goes on undisturbed.
    ///
    /// # Errors
    /// What is wrong with it here; the old configuration runs on.
    pub async fn reload(&mut self, config: Config) -> Result<()> {
        let source = Source::File(config.clone());
        if self.observer.l2tp.is_none() && source.wants_l2tp() {
            self.observer.l2tp = L2tp::open().await?;
        }
        let config = settle(config, self.observer.l2tp.is_some())?;
        self.adapt(config).await?;
        self.source = source;
        self.follow().await;
        Ok(())
    }

    /// The kernel's L2TP, if there is one and it was wanted so far.
    pub const fn l2tp(&self) -> Option<&L2tp> {
        self.observer.l2tp.as_ref()
    }

    /// Makes the tunnels, sessions and devices of a configuration, and removes what it lacks.
    async fn adapt(&mut self, config: Config) -> Result<()> {
        let bound = self.slow_path.bind(&standalone(&config));
        if bound.is_err() && self.made.tunnels.is_empty() {
            return bound;
        }
        let mut result = self.reconcile(&config).await;
        if result.is_ok() && bound.is_err() {
            // The port may have been that of a kernel tunnel of ours, which is gone now.
            result = self.slow_path.bind(&standalone(&config));
        }
        if let Err(error) = result {
            let old = self.config.clone();
            self.slow_path.bind(&standalone(&old))?;
            if let Err(error) = self.reconcile(&old).await {
                warn!("can't go back to the configuration as it was: {error:#}");
            }
            return Err(error);
        }
        self.config = config;
        Ok(())
    }

    async fn reconcile(&mut self, config: &Config) -> Result<()> {
        self.observe(config).await?;
        check_ports(config, &self.observed)?;
        let desired = reconcile::desired(config, &self.observed);
        // Every turn sees to the pairs that kernel sessions' frames come by.
        let desired = Desired { deliveries: self.made.deliveries.clone(), ..desired };
        let steps = reconcile::steps(&desired, &self.made, &self.observed)?;
        let mut kernel = Kernel(&self.observer);
        reconcile::carry_out(&mut kernel, &mut self.made, &steps).await
    }

    async fn turn(&mut self) -> Result<()> {
        let config = self.config.clone();
        self.observe(&config).await?;
        if let Source::Kernel { tunnels, mss, .. } = &self.source {
            let adopted = adopt::adopt(&self.observed, tunnels, *mss);
            (self.config, self.kept) = (adopted.config, adopted.kept);
        }
        let deliveries = plan::deliveries(&self.config, self.mode, &self.observed);
        self.make_deliveries(&deliveries).await?;
        self.carry_out().await?;
        self.remove_deliveries(&deliveries).await
    }

    async fn make_deliveries(&mut self, wanted: &BTreeSet<u32>) -> Result<()> {
        let steps: Vec<_> =
            wanted.difference(&self.made.deliveries).copied().map(Step::CreateDelivery).collect();
        for step in &steps {
            let result = self.take(step).await;
            self.attempt(result)?;
        }
        if !steps.is_empty() {
            let config = self.config.clone();
            self.observe(&config).await?;
        }
        Ok(())
    }

    /// Nothing is sent that way any more.
    async fn remove_deliveries(&mut self, wanted: &BTreeSet<u32>) -> Result<()> {
        let steps: Vec<_> =
            self.made.deliveries.difference(wanted).copied().map(Step::DeleteDelivery).collect();
        for step in &steps {
            let result = self.take(step).await;
            self.attempt(result)?;
        }
        Ok(())
    }

    async fn take(&mut self, step: &Step) -> Result<()> {
        let mut kernel = Kernel(&self.observer);
        reconcile::carry_out(&mut kernel, &mut self.made, std::slice::from_ref(step)).await
    }

    async fn observe(&mut self, config: &Config) -> Result<()> {
        let mut observed = self.observer.look(config, self.mode, &self.observed).await?;
        let sessions = config.tunnels.iter().flat_map(|tunnel| &tunnel.sessions);
        let sequenced =
            sessions.map(|session| session.session_id).filter(|id| self.slow_path.is_sequenced(*id));
        observed.sequenced.extend(sequenced);
        self.made.forget_gone(&observed);
        self.observed = observed;
        Ok(())
    }

    fn wish(&self) -> Wish<'_> {
        Wish {
            config: &self.config,
            mode: self.mode,
            wan: match &self.source {
                Source::File(_) => &[],
                Source::Kernel { wan, .. } => wan,
            },
            made: &self.made,
            slots: &self.slots,
        }
    }

    /// Logs a trouble, unless the last turn had it too.
    fn say(&mut self, trouble: String) {
        if !self.said.contains(&trouble) {
            warn!("{trouble}");
        }
        self.saying.insert(trouble);
    }

    /// Ends the fast path, but leaves the kernel's tunnels and sessions as they are, those too that we have made.
    ///
    /// # Errors
    /// Sessions would end with it: standalone ones, and those of ports, which nothing else connects to them.
    pub async fn give_back(&mut self) -> Result<String> {
        let sessions = || {
            self.config.tunnels.iter().flat_map(|tunnel| tunnel.sessions.iter().map(move |it| (tunnel, it)))
        };
        let ends = sessions().filter(|(tunnel, session)| {
            tunnel.backend == Backend::Standalone || matches!(session.attach, Attach::Port { .. })
        });
        let (ends, all) = (ends.count(), sessions().count());
        if ends > 0 {
            bail!(
                "{ends} sessions of this l2xdp are standalone or have a port, and would end: end it with SIGTERM if that is \
                 meant"
            );
        }
        // Nor are they the next run's.
        for key in take(&mut self.made.sessions).into_keys() {
            if let Ok(device) = self.observed.kernel_device(&key)
                && let Err(error) = devices::disown(&self.observer.netlink, device.ifindex).await
            {
                warn!("{error:#}");
            }
        }
        self.made.tunnels.clear();
        Ok(format!("sessions back on the kernel's path: {all}"))
    }

    /// Undoes everything, in reverse.
    pub async fn stop(mut self) {
        // First the ways in; what is under way still gets through.
        self.hooks.retain(|hook, _| hook.program.is_inner());
        sleep(UNDER_WAY).await;
        self.hooks.clear();
        for &ifindex in self.clsact.iter().filter(|ifindex| self.observed.links.contains_key(ifindex)) {
            if let Err(error) = attach::remove_clsact(&self.observer.netlink, ifindex).await {
                warn!("{}: can't remove clsact: {error:#}", sys::interface_name(ifindex));
            }
        }
        self.promiscuous.clear();
        if let Err(error) = self.remove_all().await {
            warn!("{error:#}");
        }
        // An administrator may have been quicker.
        if let Err(error) = devices::delete(&self.observer.netlink, Pair::SPLITTER.wire).await {
            warn!("{error:#}");
        }
        for (ifindex, address) in take(&mut self.next_hops) {
            let _ = devices::release_neighbour(&self.observer.netlink, ifindex, address).await;
        }
    }

    async fn remove_all(&mut self) -> Result<()> {
        let nothing = Config { tunnels: Vec::new() };
        self.observe(&nothing).await?;
        for step in reconcile::steps(&Desired::default(), &self.made, &self.observed)? {
            if let Err(error) = self.take(&step).await {
                warn!("{error:#}");
            }
        }
        Ok(())
    }
}

/// Replaces `auto` by what this kernel has.
fn settle(mut config: Config, has_l2tp: bool) -> Result<Config> {
    for tunnel in &mut config.tunnels {
        let id = tunnel.tunnel_id;
        match tunnel.backend {
            Backend::Kernel if !has_l2tp => bail!(
                "tunnel {id}: this kernel has no L2TP for backend = \"kernel\": modprobe l2tp_eth, or write \
                 backend = \"standalone\""
            ),
            Backend::Auto if has_l2tp => tunnel.backend = Backend::Kernel,
            Backend::Auto if tunnel.encap == Encap::Ip => bail!(
                "tunnel {id}: this kernel has no L2TP, which alone carries encap = \"ip\": modprobe l2tp_eth l2tp_ip, or \
                 write encap = \"udp\""
            ),
            Backend::Auto => tunnel.backend = Backend::Standalone,
            Backend::Kernel | Backend::Standalone => {}
        }
    }
    Ok(config)
}

fn standalone(config: &Config) -> Vec<crate::config::Tunnel> {
    let tunnels = config.tunnels.iter().filter(|tunnel| tunnel.backend == Backend::Standalone);
    tunnels.cloned().collect()
}
