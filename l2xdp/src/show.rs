//! `l2xdp show`: in the order and the words of `ip l2tp show`, then what is ours.

use crate::slow_path::SocketCounters;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// Everything there is to show. Names are those of `ip -json l2tp show`, where it has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// In the configuration's order.
    pub tunnels: Vec<TunnelStatus>,
    /// In the configuration's order.
    pub sessions: Vec<SessionStatus>,
    /// Packets that left the fast path, by reason; those that are not 0.
    pub reasons: BTreeMap<String, u64>,
    /// Programs by device: `eth0: xdp_decap (xdp)`.
    pub attached: Vec<String>,
}

/// A tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the keys of the configuration")]
pub struct TunnelStatus {
    pub tunnel_id: u32,
    /// `kernel` or `standalone`.
    pub backend: String,
    pub encap: String,
    pub local: IpAddr,
    pub peer: IpAddr,
    pub peer_tunnel: u32,
    pub local_port: u16,
    pub peer_port: u16,
    /// Outer UDP checksums are sent.
    pub checksum: bool,
    /// The way to the peer: `via 1.1.1.1 dev eth0 mtu 1500`, or why there is none.
    pub path: String,
    /// What came in on a standalone tunnel's socket, outside the fast path.
    pub socket: Option<SocketCounters>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the keys of the configuration")]
pub struct SessionStatus {
    pub session_id: u32,
    pub tunnel_id: u32,
    pub peer_session_id: u32,
    pub peer_tunnel: u32,
    /// The pseudowire's device, or the port.
    pub interface: String,
    /// The one VLAN of the port.
    pub vlan: Option<u16>,
    pub cookie: String,
    pub peer_cookie: String,
    /// None: it can't be told.
    pub l2spec_type: Option<String>,
    /// Which messages carry sequence numbers.
    pub seq: String,
    /// The longest inner frame that fits the path, in bytes; none without a path.
    pub max_frame: Option<u16>,
    /// `kernel` or `standalone`.
    pub backend: String,
    /// What keeps the session from the fast path, or its frames from flowing at all.
    pub trouble: Option<String>,
    /// What the programs counted, by the kernel's names (`L2TP_ATTR_STATS`).
    pub fast: Map<String, Value>,
    /// What the slow path counted, the kernel's driver or user space, by the same names.
    pub slow: Map<String, Value>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for tunnel in &self.tunnels {
            write!(f, "{tunnel}")?;
        }
        for session in &self.sessions {
            write!(f, "{session}")?;
        }
        writeln!(f, "Programs")?;
        for attached in &self.attached {
            writeln!(f, "  {attached}")?;
        }
        writeln!(f, "Packets outside the fast path")?;
        for (reason, count) in &self.reasons {
            writeln!(f, "  {reason}: {count}")?;
        }
        Ok(())
    }
}

impl fmt::Display for TunnelStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checksum = if self.checksum { "enabled" } else { "disabled" };
        writeln!(f, "Tunnel {}, encap {}, backend {}", self.tunnel_id, self.encap, self.backend)?;
        writeln!(f, "  From {} to {}", self.local, self.peer)?;
        writeln!(f, "  Peer tunnel {}", self.peer_tunnel)?;
        if self.encap == "UDP" {
            writeln!(f, "  UDP source / dest ports: {}/{}", self.local_port, self.peer_port)?;
            writeln!(f, "  UDP checksum: {checksum}")?;
        }
        writeln!(f, "  path: {}", self.path)?;
        if let Some(SocketCounters { control, data, invalid }) = self.socket {
            writeln!(f, "  socket: control {control}, data {data}, invalid {invalid}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SessionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Session {} in tunnel {}", self.session_id, self.tunnel_id)?;
        writeln!(f, "  Peer session {}, tunnel {}", self.peer_session_id, self.peer_tunnel)?;
        match self.vlan {
            Some(vlan) => writeln!(f, "  interface name: {}, vlan {vlan}", self.interface)?,
            None => writeln!(f, "  interface name: {}", self.interface)?,
        }
        if !self.cookie.is_empty() {
            writeln!(f, "  cookie {}", self.cookie)?;
        }
        if !self.peer_cookie.is_empty() {
            writeln!(f, "  peer cookie {}", self.peer_cookie)?;
        }
        writeln!(f, "  l2spec_type {}", self.l2spec_type.as_deref().unwrap_or("unknown"))?;
        if self.seq != "none" {
            writeln!(f, "  seq {}", self.seq)?;
        }
        if let Some(max_frame) = self.max_frame {
            writeln!(f, "  frames up to {max_frame} bytes")?;
        }
        writeln!(f, "  state: {}", self.trouble.as_deref().unwrap_or("up"))?;
        for (path, counters) in [("fast", &self.fast), ("slow", &self.slow)] {
            for direction in ["tx", "rx"] {
                let of = counters.iter().filter(|(name, _)| name.starts_with(direction));
                let list: Vec<_> = of.map(|(name, count)| format!("{name} {count}")).collect();
                if !list.is_empty() {
                    writeln!(f, "  {path}: {}", list.join(", "))?;
                }
            }
        }
        Ok(())
    }
}
