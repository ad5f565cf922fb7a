//! The kernel's own L2TP, by generic netlink: its tunnels and sessions, read, made, changed and removed.
//!
//! By the crate `netlink-packet-l2tp` and our own sockets, because the crate `l2tp` above it keeps the kernel's extended
//! acks to itself.

mod debugfs;
mod wire;

use crate::netlink;
use crate::reconcile::SessionKey;
use anyhow::{Context, Result, anyhow, bail};
use futures_util::{Stream, StreamExt};
use genetlink::{GenetlinkError, GenetlinkHandle};
use l2xdp_common::pseudowire::{L2Spec, Seq};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;
use netlink_packet_l2tp::{L2tpAttribute, L2tpCmd};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::sleep;
use wire::Message;

/// What carries a tunnel's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEncap {
    /// UDP.
    Udp {
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        remote: SocketAddr,
        /// Over IPv4: send checksums.
        udp_csum: bool,
        /// Over IPv6: send checksums.
        udp6_csum_tx: bool,
        /// Over IPv6: require checksums.
        udp6_csum_rx: bool,
    },
    /// IP, protocol 115.
    Ip {
        /// Our end.
        local: IpAddr,
        /// The peer's end.
        remote: IpAddr,
    },
}

/// A tunnel of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelTunnel {
    /// Our id.
    pub tunnel_id: u32,
    /// The peer's id.
    pub peer_tunnel_id: u32,
    /// 2 or 3.
    pub version: u8,
    /// What carries its messages.
    pub encap: TunnelEncap,
    /// An IPsec policy is bound to its socket.
    pub using_ipsec: bool,
}

/// What a session carries (`enum l2tp_pwtype`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PwType {
    /// Ethernet.
    Eth,
    /// Something else, by its number.
    Other(u16),
}

impl fmt::Display for PwType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eth => f.write_str("eth"),
            Self::Other(4) => f.write_str("eth_vlan"),
            Self::Other(7) => f.write_str("ppp"),
            Self::Other(8) => f.write_str("ppp_ac"),
            Self::Other(11) => f.write_str("ip"),
            Self::Other(number) => write!(f, "{number}"),
        }
    }
}

/// A session of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSession {
    /// The tunnel's id.
    pub tunnel_id: u32,
    /// Our id.
    pub session_id: u32,
    /// The peer's id of the tunnel.
    pub peer_tunnel_id: u32,
    /// The peer's id.
    pub peer_session_id: u32,
    /// What it carries.
    pub pw_type: PwType,
    /// The cookie we send; the kernel takes up to 8 bytes.
    pub cookie: Vec<u8>,
    /// The cookie we require.
    pub peer_cookie: Vec<u8>,
    /// Its sublayer; `None`: it can't be told.
    pub l2spec: Option<L2Spec>,
    /// Which messages carry sequence numbers. The peer may switch this on and off (`lns_mode` 0).
    pub seq: Seq,
    /// Sequence numbers are at our word, not the peer's.
    pub lns_mode: bool,
    /// Its device's name when it was made.
    pub ifname: Option<String>,
    /// An IPsec policy is bound to the tunnel's socket.
    pub using_ipsec: bool,
    /// What the driver has counted.
    pub stats: SessionStats,
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What the kernel's driver counts of a session (`L2TP_ATTR_STATS`); bytes are those of inner frames and of L2TP's
        /// headers before them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct SessionStats { $($(#[$doc])* pub $name: u64),+ }

        impl SessionStats {
            /// Name and value of each counter.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),+].into_iter()
            }
        }
    };
}

stats! {
    /// Frames sent.
    tx_packets,
    /// Their bytes.
    tx_bytes,
    /// Frames that could not be sent.
    tx_errors,
    /// Frames delivered.
    rx_packets,
    /// Their bytes.
    rx_bytes,
    /// Messages dropped.
    rx_errors,
    /// Of those, for their sequence numbers.
    rx_seq_discards,
    /// Messages out of sequence.
    rx_oos_packets,
    /// Messages dropped for their cookie.
    rx_cookie_discards,
    /// Messages of another version.
    rx_invalid,
}

/// All tunnels and sessions of a network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct L2tpState {
    /// By our id.
    pub tunnels: BTreeMap<u32, KernelTunnel>,
    /// By the tunnel's and our session's id.
    pub sessions: BTreeMap<SessionKey, KernelSession>,
    /// The names that sessions' devices have now, where debugfs tells them and no two are the same.
    pub devices: BTreeMap<SessionKey, String>,
}

/// The multicast group of changes (`L2TP_GENL_MCGROUP`).
const GROUP: &str = "l2tp";

/// The kernel removes tunnels after it has said so: this long we wait, and this often we look.
const REMOVAL: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(10);

/// Where the kernel's L2TP is spoken to. Every command needs `CAP_NET_ADMIN`.
#[derive(Clone)]
pub struct L2tp(GenetlinkHandle);

impl L2tp {
    /// Opens a socket in this thread's network namespace; `None`: this kernel has no L2TP, and no module of it either.
    ///
    /// # Errors
    /// Generic netlink's.
    pub async fn open() -> Result<Option<Self>> {
        // The last one tells of sublayers, and the others load by themselves where the kernel may load modules.
        modprobe(&["l2tp_netlink", "l2tp_eth", "l2tp_debugfs"]);
        let handle = netlink::open_genetlink()?;
        match handle.resolve_family::<Message>().await {
            Ok(_) => Ok(Some(Self(handle))),
            Err(GenetlinkError::NetlinkError(error)) if error.raw_os_error() == Some(libc::ENOENT) => {
                Ok(None)
            }
            Err(error) => Err(error).context("generic netlink: family l2tp"),
        }
    }

    /// Reads all tunnels and sessions.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn state(&self) -> Result<L2tpState> {
        let tunnels = self.dump(L2tpCmd::TunnelGet).await.context("list L2TP tunnels")?;
        let sessions = self.dump(L2tpCmd::SessionGet).await.context("list L2TP sessions")?;
        let told = if sessions.is_empty() { None } else { debugfs::read() }.unwrap_or_default();
        let tunnels = tunnels.iter().filter_map(|attributes| wire::to_tunnel(attributes));
        let sessions = sessions.iter().map(|attributes| {
            let session = wire::to_session(attributes);
            KernelSession { l2spec: told.get(&session.key()).and_then(|told| told.l2spec), ..session }
        });
        let mut state = L2tpState {
            tunnels: tunnels.map(|tunnel| (tunnel.tunnel_id, tunnel)).collect(),
            sessions: sessions.map(|session| (session.key(), session)).collect(),
            devices: told.into_iter().filter_map(|(key, told)| Some((key, told.device?))).collect(),
        };
        state.settle();
        Ok(state)
    }

    /// Makes a tunnel, which outlives this process (`ip l2tp add tunnel`).
    ///
    /// # Errors
    /// The kernel's.
    pub async fn create_tunnel(&self, tunnel: &KernelTunnel) -> Result<()> {
        if let TunnelEncap::Ip { .. } = tunnel.encap {
            modprobe(&["l2tp_ip", "l2tp_ip6"]);
        }
        let made = self.change(L2tpCmd::TunnelCreate, wire::of_tunnel(tunnel)).await;
        made.map_err(|error| match mend(&error, tunnel.encap) {
            Some(mend) => error.context(mend),
            None => error,
        })
        .with_context(|| format!("tunnel {}: the kernel can't make it", tunnel.tunnel_id))
    }

    /// Removes a tunnel and its sessions, and waits until they are gone (`ip l2tp del tunnel`).
    ///
    /// # Errors
    /// The kernel's.
    pub async fn delete_tunnel(&self, tunnel_id: u32) -> Result<()> {
        let removed = self.change(L2tpCmd::TunnelDelete, vec![L2tpAttribute::ConnId(tunnel_id)]).await;
        removed.with_context(|| format!("tunnel {tunnel_id}: the kernel can't remove it"))?;
        self.gone(|state| !state.tunnels.contains_key(&tunnel_id)).await
    }

    /// Makes a session and its device (`ip l2tp add session`).
    ///
    /// # Errors
    /// The kernel's.
    pub async fn create_session(&self, session: &KernelSession) -> Result<()> {
        let attributes = wire::of_session(session).map_err(|error| anyhow!("{error}"));
        let made = match attributes {
            Ok(attributes) => self.change(L2tpCmd::SessionCreate, attributes).await,
            Err(error) => Err(error),
        };
        made.with_context(|| {
            let KernelSession { tunnel_id, session_id, ifname, .. } = session;
            let named = ifname.as_ref().map(|name| format!(", device {name}")).unwrap_or_default();
            format!("session {session_id} in tunnel {tunnel_id}{named}: the kernel can't make it")
        })
    }

    /// Changes which messages carry sequence numbers: all that can be changed of a session.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn modify_session(&self, tunnel_id: u32, session_id: u32, seq: Seq) -> Result<()> {
        let attributes = vec![
            L2tpAttribute::ConnId(tunnel_id),
            L2tpAttribute::SessionId(session_id),
            L2tpAttribute::SendSeq(seq.send.into()),
            L2tpAttribute::RecvSeq(seq.recv.into()),
        ];
        let changed = self.change(L2tpCmd::SessionModify, attributes).await;
        changed.with_context(|| format!("session {session_id}: the kernel can't change it"))
    }

    /// Removes a session and its device (`ip l2tp del session`).
    ///
    /// # Errors
    /// The kernel's.
    pub async fn delete_session(&self, tunnel_id: u32, session_id: u32) -> Result<()> {
        let attributes = vec![L2tpAttribute::ConnId(tunnel_id), L2tpAttribute::SessionId(session_id)];
        let removed = self.change(L2tpCmd::SessionDelete, attributes).await;
        removed.with_context(|| format!("session {session_id}: the kernel can't remove it"))?;
        self.gone(|state| !state.sessions.contains_key(&(tunnel_id, session_id))).await
    }

    /// Something for every change that the kernel announces, and for those that it had no room to. Some kernels announce
    /// those of other namespaces too: it is a reason to look, and no more.
    ///
    /// # Errors
    /// Generic netlink's.
    pub async fn changes(&self) -> Result<impl Stream<Item = ()> + Unpin + use<>> {
        const CONTEXT: &str = "generic netlink: changes of L2TP";
        let family = self.0.resolve_family::<Message>().await.context(CONTEXT)?;
        let group = family.multicast_groups.get(GROUP).context("the kernel announces no changes of L2TP")?;
        Ok(netlink::listen_genetlink(*group).context(CONTEXT)?.map(drop))
    }

    async fn gone(&self, is_gone: impl Fn(&L2tpState) -> bool) -> Result<()> {
        let looks = REMOVAL.as_millis() / LOOK.as_millis();
        for _ in 0..looks {
            if is_gone(&self.state().await?) {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        bail!("the kernel says it has removed it, and still lists it after {} s", REMOVAL.as_secs())
    }

    async fn dump(&self, cmd: L2tpCmd) -> Result<Vec<Vec<L2tpAttribute>>> {
        self.request(Message::new(cmd, Vec::new()), NLM_F_DUMP).await
    }

    async fn change(&self, cmd: L2tpCmd, attributes: Vec<L2tpAttribute>) -> Result<()> {
        self.request(Message::new(cmd, attributes), NLM_F_ACK).await.map(drop)
    }

    async fn request(&self, message: Message, flags: u16) -> Result<Vec<Vec<L2tpAttribute>>> {
        let mut request = NetlinkMessage::from(GenlMessage::from_payload(message));
        request.header.flags = NLM_F_REQUEST | flags;
        let mut handle = self.0.clone();
        let mut answers = handle.request(request).await?;
        let mut all = Vec::new();
        while let Some(answer) = answers.next().await {
            match answer?.payload {
                NetlinkPayload::InnerMessage(message) => all.push(message.payload.0.attributes),
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    return Err(netlink::Refused::from(&error).into());
                }
                _ => {}
            }
        }
        Ok(all)
    }
}

impl L2tpState {
    /// The sessions of a tunnel.
    pub fn sessions_of(&self, tunnel_id: u32) -> impl Iterator<Item = (&SessionKey, &KernelSession)> {
        self.sessions.range((tunnel_id, 0)..=(tunnel_id, u32::MAX))
    }

    /// Works out what the kernel tells only in part.
    fn settle(&mut self) {
        // Of sessions it says what is of the tunnel's socket.
        for session in self.sessions.values().filter(|session| session.using_ipsec) {
            if let Some(tunnel) = self.tunnels.get_mut(&session.tunnel_id) {
                tunnel.using_ipsec = true;
            }
        }
        // Two devices of one name are in two namespaces, and nothing says which is here.
        let mut of_name: HashMap<String, u32> = HashMap::new();
        for name in self.devices.values() {
            *of_name.entry(name.clone()).or_default() += 1;
        }
        self.devices.retain(|_, name| of_name.get(name) == Some(&1));
    }
}

/// What helps against the usual reasons why a tunnel can't be made.
fn mend(error: &anyhow::Error, encap: TunnelEncap) -> Option<String> {
    let (local, port) = match encap {
        TunnelEncap::Udp { local, .. } => (local.ip(), Some(local.port())),
        TunnelEncap::Ip { local, .. } => (local, None),
    };
    match (error.downcast_ref::<netlink::Refused>()?.errno?, port) {
        (libc::EADDRNOTAVAIL, _) => Some(format!(
            "local = \"{local}\" is not an address of this host: ip address add {local}/… dev …"
        )),
        (libc::EADDRINUSE, Some(port)) => Some(format!(
            "udp_sport = {port} is in use on {local}: find its owner with ss -lunp sport = :{port}, or choose another port"
        )),
        (libc::EPROTONOSUPPORT, None) => Some("modprobe l2tp_ip l2tp_ip6".to_owned()),
        _ => None,
    }
}

/// Does debugfs tell of the sublayers of sessions?
pub fn has_debugfs() -> bool {
    debugfs::read().is_some()
}

/// Loads modules, if there are any to load: what is missing shows itself later.
fn modprobe(modules: &[&str]) {
    let mut modprobe = Command::new("modprobe");
    modprobe.arg("--quiet").arg("--all").args(modules);
    let _ = modprobe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}
