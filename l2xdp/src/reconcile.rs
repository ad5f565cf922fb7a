//! From what a configuration wants of the kernel, and what is there, to the steps between. [`steps`] asks and changes
//! nothing; [`carry_out`] takes the steps in a [`World`], and those taken back if one fails.

use crate::config::{Attach, Backend, Config, Encap, Mtu, Session, Tunnel};
use crate::devices;
use crate::l2tp::{KernelSession, KernelTunnel, L2tpState, PwType, SessionStats, TunnelEncap};
use crate::observe::{Link, Observed};
use crate::plan;
use crate::underlay;
use anyhow::{Result, bail};
use l2xdp_common::pseudowire::Seq;
use log::warn;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A tunnel and a session in it, by our ids.
pub type SessionKey = (u32, u32);

/// How a session's network device is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its MTU, in bytes; `None`: as the kernel made it.
    pub mtu: Option<u32>,
    /// The bridge it is a port of.
    pub bridge: Option<String>,
    /// Nobody but l2xdp uses it: it must not say anything of its own.
    pub silent: bool,
    /// The kernel session's tunnel was made by l2xdp as well, which the device has to tell the next run.
    pub own_tunnel: bool,
}

/// A network device that is made for a session: the pseudowire's own, or one that received frames come by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The session.
    pub session_id: u32,
    /// The name; `None`: the first free of `l2tpeth0`, `l2tpeth1`, ….
    pub name: Option<String>,
    /// How it is set up.
    pub settings: Settings,
}

/// What should be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The kernel's tunnels, by our id.
    pub tunnels: BTreeMap<u32, KernelTunnel>,
    /// The kernel's sessions, each with the settings of its device.
    pub sessions: BTreeMap<SessionKey, (KernelSession, Settings)>,
    /// Devices of standalone sessions, by session id.
    pub devices: BTreeMap<u32, Device>,
    /// Kernel sessions whose received frames come by a pair of devices, by session id.
    pub deliveries: BTreeSet<u32>,
}

/// What this run has made, and so may change and remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Tunnels.
    pub tunnels: BTreeSet<u32>,
    /// The kernel's sessions, with their devices' settings.
    pub sessions: BTreeMap<SessionKey, Settings>,
    /// Devices of standalone sessions.
    pub devices: BTreeMap<u32, Device>,
    /// See [`Desired::deliveries`].
    pub deliveries: BTreeSet<u32>,
}

/// A change of the kernel's state. Each knows enough to be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes a tunnel of the kernel's.
    CreateTunnel(KernelTunnel),
    /// Removes it.
    DeleteTunnel(KernelTunnel),
    /// Makes a session of the kernel's, and sets its device up.
    CreateSession(KernelSession, Settings),
    /// Removes it.
    DeleteSession(KernelSession, Settings),
    /// Changes what the kernel lets change of a session.
    ModifySession {
        /// The session.
        key: SessionKey,
        /// Which messages had sequence numbers.
        from: Seq,
        /// Which have from now on.
        to: Seq,
    },
    /// Makes a standalone session's device.
    CreateDevice(Device),
    /// Removes it.
    DeleteDevice(Device),
    /// Sets a session's device up anew.
    SetUp {
        /// The session.
        session_id: u32,
        /// As it was.
        from: Settings,
        /// As it is to be.
        to: Settings,
    },
    /// Makes the pair of devices that a kernel session's received frames come by.
    CreateDelivery(u32),
    /// Removes it.
    DeleteDelivery(u32),
}

/// Where steps are taken: the kernel, or a picture of one.
pub trait World {
    /// Takes one step, wholly or not at all.
    fn take(&mut self, step: &Step) -> impl Future<Output = Result<()>>;
}

impl Step {
    /// What undoes it.
    pub fn inverse(&self) -> Self {
        match self.clone() {
            Self::CreateTunnel(tunnel) => Self::DeleteTunnel(tunnel),
            Self::DeleteTunnel(tunnel) => Self::CreateTunnel(tunnel),
            Self::CreateSession(session, settings) => Self::DeleteSession(session, settings),
            Self::DeleteSession(session, settings) => Self::CreateSession(session, settings),
            Self::ModifySession { key, from, to } => Self::ModifySession { key, from: to, to: from },
            Self::CreateDevice(device) => Self::DeleteDevice(device),
            Self::DeleteDevice(device) => Self::CreateDevice(device),
            Self::SetUp { session_id, from, to } => Self::SetUp { session_id, from: to, to: from },
            Self::CreateDelivery(id) => Self::DeleteDelivery(id),
            Self::DeleteDelivery(id) => Self::CreateDelivery(id),
        }
    }
}

impl Made {
    /// Takes note of a step.
    pub fn note(&mut self, step: &Step) {
        match step {
            Step::CreateTunnel(tunnel) => _ = self.tunnels.insert(tunnel.tunnel_id),
            Step::DeleteTunnel(tunnel) => _ = self.tunnels.remove(&tunnel.tunnel_id),
            Step::CreateSession(session, settings) => {
                self.sessions.insert(session.key(), settings.clone());
            }
            Step::DeleteSession(session, _) => _ = self.sessions.remove(&session.key()),
            Step::ModifySession { .. } => {}
            Step::CreateDevice(device) => _ = self.devices.insert(device.session_id, device.clone()),
            Step::DeleteDevice(device) => _ = self.devices.remove(&device.session_id),
            Step::SetUp { session_id, to, .. } => self.note_settings(*session_id, to),
            Step::CreateDelivery(id) => _ = self.deliveries.insert(*id),
            Step::DeleteDelivery(id) => _ = self.deliveries.remove(id),
        }
    }

    /// Forgets the devices that somebody else has removed.
    pub fn forget_gone(&mut self, observed: &Observed) {
        let is_there = |id: &u32| observed.link(&devices::wire_name(*id)).is_some();
        self.devices.retain(|id, _| is_there(id));
        self.deliveries.retain(is_there);
    }

    fn note_settings(&mut self, session_id: u32, settings: &Settings) {
        let of_kernel = self.sessions.iter_mut().filter(|((_, id), _)| *id == session_id);
        let of_devices = self.devices.get_mut(&session_id).map(|device| &mut device.settings);
        for known in of_kernel.map(|(_, known)| known).chain(of_devices) {
            known.clone_from(settings);
        }
    }

    /// What a run that was killed has made of the kernel's tunnels and sessions: the devices still say so. A tunnel that has
    /// got other sessions since is left to them.
    pub fn left_behind(observed: &Observed) -> Self {
        let mut made = Self::default();
        for (key, session) in &observed.l2tp.sessions {
            let device = observed.kernel_device(key).ok();
            let ours = device.filter(|link| devices::session_of(link) == Some(session.session_id));
            made.sessions.extend(ours.map(|link| (*key, Settings::of(link, observed))));
        }
        let with_tunnel = made.sessions.iter().filter(|(_, settings)| settings.own_tunnel);
        let tunnels: BTreeSet<u32> = with_tunnel.map(|((tunnel, _), _)| *tunnel).collect();
        let foreign =
            |tunnel: u32| observed.l2tp.sessions_of(tunnel).any(|(key, _)| !made.sessions.contains_key(key));
        made.tunnels = tunnels.into_iter().filter(|tunnel| !foreign(*tunnel)).collect();
        made
    }
}

impl Settings {
    /// As a device has them now.
    pub fn of(link: &Link, observed: &Observed) -> Self {
        let controller = link.controller.and_then(|index| observed.links.get(&index));
        let bridge = controller.filter(|controller| controller.bridge).map(|bridge| bridge.name.clone());
        Self { mtu: Some(link.mtu), bridge, silent: false, own_tunnel: devices::has_own_tunnel(link) }
    }
}

impl KernelSession {
    /// The tunnel's and the session's id.
    pub const fn key(&self) -> SessionKey {
        (self.tunnel_id, self.session_id)
    }
}

/// What a configuration wants. Backends must be settled. Deliveries are not among it: they come and go with what the fast
/// path can have.
pub fn desired(config: &Config, observed: &Observed) -> Desired {
    let mut desired = Desired::default();
    for tunnel in &config.tunnels {
        let path_mtu = underlay::resolve(observed, &plan::query(tunnel)).ok().map(|way| way.mtu);
        if tunnel.backend == Backend::Kernel {
            desired.tunnels.insert(tunnel.tunnel_id, kernel_tunnel(tunnel));
        }
        for session in &tunnel.sessions {
            let settings = settings(tunnel, session, path_mtu);
            if tunnel.backend == Backend::Kernel {
                let wanted = kernel_session(tunnel, session);
                desired.sessions.insert(wanted.key(), (wanted, settings));
            } else if let Attach::Netdev { name, .. } = &session.attach {
                let device = Device { session_id: session.session_id, name: name.clone(), settings };
                desired.devices.insert(session.session_id, device);
            }
        }
    }
    desired
}

fn settings(tunnel: &Tunnel, session: &Session, path_mtu: Option<u32>) -> Settings {
    let kernel = tunnel.backend == Backend::Kernel;
    match &session.attach {
        Attach::Netdev { bridge, .. } => {
            // The kernel has worked out the MTU of its own device, from the route it found.
            let as_made = kernel && session.mtu == Mtu::Auto;
            let mtu = (!as_made).then(|| plan::device_mtu(session, path_mtu));
            Settings { mtu, bridge: bridge.clone(), ..Settings::default() }
        }
        // What the kernel's driver carries comes through the device, whatever its length.
        Attach::Port { .. } => Settings { mtu: Some(devices::MAX_MTU), silent: true, ..Settings::default() },
    }
}

fn kernel_tunnel(tunnel: &Tunnel) -> KernelTunnel {
    let ipv6 = tunnel.local.is_ipv6();
    let encap = match tunnel.encap {
        Encap::Udp => TunnelEncap::Udp {
            local: SocketAddr::new(tunnel.local, tunnel.udp_sport),
            remote: SocketAddr::new(tunnel.remote, tunnel.udp_dport),
            udp_csum: !ipv6 && tunnel.checksum,
            udp6_csum_tx: ipv6 && tunnel.checksum,
            udp6_csum_rx: ipv6 && !tunnel.zero_csum6_rx,
        },
        Encap::Ip => TunnelEncap::Ip { local: tunnel.local, remote: tunnel.remote },
    };
    KernelTunnel {
        tunnel_id: tunnel.tunnel_id,
        peer_tunnel_id: tunnel.peer_tunnel_id,
        version: 3,
        encap,
        using_ipsec: false,
    }
}

fn kernel_session(tunnel: &Tunnel, session: &Session) -> KernelSession {
    let pseudowire = &session.pseudowire;
    KernelSession {
        tunnel_id: tunnel.tunnel_id,
        session_id: session.session_id,
        peer_tunnel_id: tunnel.peer_tunnel_id,
        peer_session_id: session.peer_session_id,
        pw_type: PwType::Eth,
        cookie: pseudowire.cookie.bytes().to_vec(),
        peer_cookie: pseudowire.peer_cookie.bytes().to_vec(),
        l2spec: Some(pseudowire.l2spec),
        seq: pseudowire.seq,
        lns_mode: false,
        ifname: match &session.attach {
            Attach::Netdev { name, .. } => name.clone(),
            Attach::Port { .. } => Some(devices::kernel_name(session.session_id)),
        },
        using_ipsec: false,
        stats: SessionStats::default(),
    }
}

/// The steps from what is there to what should be: what goes first, in reverse order of its making; then what comes.
///
/// # Errors
/// What somebody else has made stands in the way. It is left alone.
pub fn steps(desired: &Desired, made: &Made, observed: &Observed) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    removals(desired, made, observed, &mut steps);
    let removed = Removed::by(&steps);
    tunnels_to_come(desired, &observed.l2tp, &removed, &mut steps)?;
    sessions_to_come(desired, made, observed, &removed, &mut steps)?;
    devices_to_come(desired, made, observed, &removed, &mut steps)?;
    let new = desired.deliveries.difference(&made.deliveries);
    steps.extend(new.copied().map(Step::CreateDelivery));
    Ok(steps)
}

/// What steps remove.
#[derive(Default)]
struct Removed {
    tunnels: BTreeSet<u32>,
    sessions: BTreeSet<SessionKey>,
    devices: BTreeSet<u32>,
    /// Ids of sessions, the kernel's or standalone ones, whose devices' names are free then.
    named: BTreeSet<u32>,
}

impl Removed {
    fn by(steps: &[Step]) -> Self {
        let mut removed = Self::default();
        for step in steps {
            match step {
                Step::DeleteTunnel(tunnel) => _ = removed.tunnels.insert(tunnel.tunnel_id),
                Step::DeleteSession(session, _) => {
                    removed.sessions.insert(session.key());
                    removed.named.insert(session.session_id);
                }
                Step::DeleteDevice(device) => {
                    removed.devices.insert(device.session_id);
                    removed.named.insert(device.session_id);
                }
                _ => {}
            }
        }
        removed
    }
}

/// What we made, and is not wanted any more or not as it is.
fn removals(desired: &Desired, made: &Made, observed: &Observed, steps: &mut Vec<Step>) {
    let old = made.deliveries.difference(&desired.deliveries);
    steps.extend(old.copied().map(Step::DeleteDelivery));
    for (id, device) in made.devices.iter().rev() {
        if desired.devices.get(id).is_none_or(|wanted| !wanted.is_same_device(device)) {
            steps.push(Step::DeleteDevice(device.clone()));
        }
    }
    let l2tp = &observed.l2tp;
    // What others have put into a tunnel of ours goes with it, so it stays.
    let ours = |key, there| made.sessions.contains_key(key) && is_still_ours(there, observed);
    let shared = |id: u32| l2tp.sessions_of(id).any(|(key, there)| !ours(key, there));
    let unwanted =
        |id: &u32| desired.tunnels.get(id).is_none_or(|wanted| l2tp.tunnels.get(id) != Some(wanted));
    let going: BTreeSet<_> = made.tunnels.iter().copied().filter(|id| unwanted(id) && !shared(*id)).collect();
    for (key, settings) in made.sessions.iter().rev() {
        let Some(there) = l2tp.sessions.get(key).filter(|there| is_still_ours(there, observed)) else {
            continue;
        };
        let same = desired.sessions.get(key).is_some_and(|(wanted, _)| wanted.is_same_session(there));
        if !same || going.contains(&key.0) {
            steps.push(Step::DeleteSession(there.clone(), settings.clone()));
        }
    }
    steps.extend(going.iter().rev().filter_map(|id| l2tp.tunnels.get(id)).cloned().map(Step::DeleteTunnel));
}

/// Somebody may have removed a session of ours and made another of the same ids, whose device is not marked.
fn is_still_ours(there: &KernelSession, observed: &Observed) -> bool {
    let device = observed.kernel_device(&there.key());
    device.map_or(true, |link| devices::session_of(link) == Some(there.session_id))
}

fn tunnels_to_come(
    desired: &Desired,
    l2tp: &L2tpState,
    removed: &Removed,
    steps: &mut Vec<Step>,
) -> Result<()> {
    for (id, wanted) in &desired.tunnels {
        match l2tp.tunnels.get(id).filter(|_| !removed.tunnels.contains(id)) {
            None => steps.push(Step::CreateTunnel(wanted.clone())),
            Some(there) if there == wanted => {}
            Some(there) => bail!(
                "tunnel {id} exists, and is another: {}; remove it (ip l2tp del tunnel tunnel_id {id}), choose another \
                 tunnel_id, or accelerate it as it is: l2xdp accelerate --tunnel {id}",
                difference(there, wanted),
            ),
        }
    }
    Ok(())
}

fn sessions_to_come(
    desired: &Desired,
    made: &Made,
    observed: &Observed,
    removed: &Removed,
    steps: &mut Vec<Step>,
) -> Result<()> {
    for (key, (wanted, settings)) in &desired.sessions {
        let there = observed.l2tp.sessions.get(key).filter(|_| !removed.sessions.contains(key));
        let Some(there) = there else {
            if let Some(name) = &wanted.ifname {
                refuse_taken_name(key.1, name, observed, removed)?;
            }
            let own_tunnel = !observed.l2tp.tunnels.contains_key(&key.0) || made.tunnels.contains(&key.0);
            let settings = Settings { own_tunnel, ..settings.clone() };
            steps.push(Step::CreateSession(wanted.clone(), settings));
            continue;
        };
        if !wanted.is_same_session(there) {
            bail!(
                "session {} of tunnel {} exists, and is another: {}; remove it (ip l2tp del session tunnel_id {} \
                 session_id {}), or choose another session_id",
                key.1,
                key.0,
                difference(there, wanted),
                key.0,
                key.1,
            );
        }
        // What somebody else made is taken as it is.
        let Some(current) = made.sessions.get(key) else { continue };
        if there.seq != wanted.seq {
            steps.push(Step::ModifySession { key: *key, from: there.seq, to: wanted.seq });
        }
        set_up(key.1, current, settings, steps);
    }
    Ok(())
}

fn devices_to_come(
    desired: &Desired,
    made: &Made,
    observed: &Observed,
    removed: &Removed,
    steps: &mut Vec<Step>,
) -> Result<()> {
    for (id, wanted) in &desired.devices {
        match made.devices.get(id).filter(|_| !removed.devices.contains(id)) {
            Some(there) => set_up(*id, &there.settings, &wanted.settings, steps),
            None => {
                if let Some(name) = &wanted.name {
                    refuse_taken_name(*id, name, observed, removed)?;
                }
                steps.push(Step::CreateDevice(wanted.clone()));
            }
        }
    }
    Ok(())
}

fn set_up(session_id: u32, from: &Settings, to: &Settings, steps: &mut Vec<Step>) {
    // The MTU of `auto` follows the path by itself.
    let same_mtu = to.mtu.is_none() || to.mtu == from.mtu;
    if !same_mtu || from.bridge != to.bridge {
        let to = Settings { own_tunnel: from.own_tunnel, ..to.clone() };
        steps.push(Step::SetUp { session_id, from: from.clone(), to });
    }
}

fn refuse_taken_name(session_id: u32, name: &str, observed: &Observed, removed: &Removed) -> Result<()> {
    let Some(link) = observed.link(name) else { return Ok(()) };
    let goes = devices::session_of(link).is_some_and(|id| removed.named.contains(&id));
    if !goes {
        bail!(
            "session {session_id}: netdev = \"{name}\": a device of that name exists; remove it (ip link delete {name}) or \
             choose another name"
        );
    }
    Ok(())
}

impl Device {
    /// The same device, be it set up otherwise.
    fn is_same_device(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl KernelSession {
    /// The same session, be its sequence numbers on or off: that alone can be changed. What the kernel does not tell, or
    /// the configuration leaves to it, is no difference.
    fn is_same_session(&self, there: &Self) -> bool {
        let mut like = self.clone();
        like.seq = there.seq;
        like.lns_mode = there.lns_mode;
        like.stats = there.stats;
        like.using_ipsec = there.using_ipsec;
        like.l2spec = there.l2spec.and(self.l2spec);
        like.ifname = self.ifname.clone().or_else(|| there.ifname.clone());
        like == *there
    }
}

/// The first word in which two of a kind differ, as `field: there, not wanted`.
fn difference(there: &impl std::fmt::Debug, wanted: &impl std::fmt::Debug) -> String {
    let (there, wanted) = (format!("{there:#?}"), format!("{wanted:#?}"));
    let lines = there.lines().zip(wanted.lines()).find(|(there, wanted)| there != wanted);
    let clean = |line: &str| line.trim().trim_end_matches(',').to_owned();
    lines.map_or_else(String::new, |(there, wanted)| format!("{}, not {}", clean(there), clean(wanted)))
}

/// Takes the steps in order. If one fails, those before it are undone in reverse; `made` says what there is.
///
/// # Errors
/// The failed step's.
pub async fn carry_out<W: World>(world: &mut W, made: &mut Made, steps: &[Step]) -> Result<()> {
    for (at, step) in steps.iter().enumerate() {
        if let Err(error) = world.take(step).await {
            for done in steps.iter().take(at).rev() {
                let back = done.inverse();
                match world.take(&back).await {
                    Ok(()) => made.note(&back),
                    Err(error) => warn!("can't undo: {error:#}"),
                }
            }
            return Err(error);
        }
        made.note(step);
    }
    Ok(())
}
