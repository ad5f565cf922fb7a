//! The configuration file, from TOML to values that can be run.
//!
//! [`Config::parse`] reads top-down: TOML → `section` (a table that knows the place of each value) → `tunnel`
//! and `session` (one function per table) → the types below. `value`, `address` and `interface` decide what a
//! single value may be, `word` the words of choices, `claims` what two values may not have in common, and `keys`
//! lists what there is. All problems of a file are found in one go, so serde, which ends at the first, has no
//! part in it; see [`ConfigError`].
//!
//! [`render()`] is the way back, from values to TOML.
//!
//! `docs/configuration.md` is the user's description of the same, and a test keeps its tables in step.

mod address;
mod claims;
mod error;
mod interface;
mod keys;
mod render;
mod section;
mod session;
#[cfg(test)]
mod tests;
mod tunnel;
mod value;
mod word;

pub use error::{ConfigError, Position, Problem};
pub use render::render;
pub use value::parse_mss;
pub use word::Word;

use claims::Claims;
use error::{Problems, Reported};
use l2xdp_common::pseudowire::Pseudowire;
use section::Section;
use std::net::IpAddr;
use std::path::Path;
use toml::de::DeTable;
use word::word;

/// A configuration file in which nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The tunnels, in the order of the file; at least one.
    pub tunnels: Vec<Tunnel>,
}

/// Who keeps the state of a tunnel and its sessions, and carries what the programs don't (`backend`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The kernel's L2TP where there is one, else ours.
    #[default]
    Auto,
    /// The kernel's L2TP: sessions are `l2tpeth` devices, and `ip l2tp show` has them.
    Kernel,
    /// Ours: sessions are veth devices, and need no kernel module.
    Standalone,
}

/// What carries a tunnel's messages (`encap`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encap {
    /// UDP (RFC 3931 §4.1.2).
    #[default]
    Udp,
    /// IP, protocol 115 (RFC 3931 §4.1.1). Without ports and UDP checksums, and not for [`Backend::Standalone`].
    Ip,
}

/// One `[[tunnel]]`: two endpoints and the sessions between them (`ip l2tp add tunnel`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Our id of the tunnel, not 0 and unique in the file (`tunnel_id`). It is never on a session's wire.
    pub tunnel_id: u32,
    /// The peer's id of it, not 0 (`peer_tunnel_id`).
    pub peer_tunnel_id: u32,
    /// Our outer address (`local`).
    pub local: IpAddr,
    /// The peer's outer address, of the same family and another than ours (`remote`).
    pub remote: IpAddr,
    /// Our UDP port (`udp_sport`); 0 over IP.
    pub udp_sport: u16,
    /// The peer's UDP port (`udp_dport`); 0 over IP.
    pub udp_dport: u16,
    /// Who has the tunnel, and its sessions (`backend`, here or at the top of the file).
    pub backend: Backend,
    /// What carries its messages (`encap`).
    pub encap: Encap,
    /// Send outer UDP checksums (`udp_csum` for IPv4, `udp6_csum_tx` for IPv6).
    pub checksum: bool,
    /// Over IPv6, accept messages without a UDP checksum (`udp6_csum_rx` off).
    pub zero_csum6_rx: bool,
    /// Outer TTL or hop limit (`ttl`); `None`: the kernel's default for the outer IP version.
    pub ttl: Option<u8>,
    /// The sessions, in the order of the file; possibly none, as with `ip l2tp`.
    pub sessions: Vec<Session>,
}

/// One `[[tunnel.session]]`: an Ethernet pseudowire (`ip l2tp add session`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session id we receive, not 0 and unique in the file (`session_id`).
    pub session_id: u32,
    /// The session id we send, not 0 and unique in the tunnel (`peer_session_id`).
    pub peer_session_id: u32,
    /// What is at our end of the wire.
    pub attach: Attach,
    /// The MTU of the network device; [`Mtu::Auto`] for a port, which keeps its own.
    pub mtu: Mtu,
    /// What the two ends agree on, the tunnel's part of it included.
    pub pseudowire: Pseudowire,
}

/// Our end of a pseudowire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A network device that is made for the session (`netdev`, `name` or `ifname`).
    Netdev {
        /// Its name, which no other interface of the file has; `None`: the first free of `l2tpeth0`, `l2tpeth1`, ….
        name: Option<String>,
        /// The bridge that it becomes a port of; several devices may share one.
        bridge: Option<String>,
    },
    /// An existing interface, cross-connected.
    Port {
        /// Its name.
        name: String,
        /// The one VLAN that is carried, 1 to 4094, without its tag; `None`: every frame as it is.
        vlan: Option<u16>,
    },
}

/// The MTU of a pseudowire's network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mtu {
    /// What fits through the path: path MTU − outer IP, UDP and L2TP headers − 14.
    Auto,
    /// This many bytes of layer 3, at least 68; a frame of that length fits into an outer IP packet.
    Fixed(u16),
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| ConfigError::unreadable(&file, &error))?;
        let text =
            std::str::from_utf8(&bytes).map_err(|error| ConfigError::not_utf8(&file, &bytes, error))?;
        Self::parse(&file, text)
    }

    /// Checks the text of a file; its name is only for the messages.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, ConfigError> {
        let problems = Problems::new(text);
        let config = read_document(text, &problems);
        problems.into_result(file_name, config)
    }
}

fn read_document(text: &str, problems: &Problems) -> Result<Config, Reported> {
    let (document, errors) = DeTable::parse_recoverable(text);
    // What the parser made of a file with syntax errors is a guess; do not complain about guesses.
    if let Some(reported) = errors.iter().map(|error| problems.syntax(error)).last() {
        return Err(reported);
    }
    let root = Section::new(&keys::ROOT, document.get_ref(), document.span().start, problems);
    let backend = root.with_default("backend", Backend::Auto, word);
    let sections = root.tables(&keys::TUNNEL)?;
    if sections.is_empty() {
        return Err(root.missing("tunnel"));
    }
    let mut claims = Claims::default();
    // Every tunnel is read before the first failed one ends it.
    let tunnels: Vec<_> =
        sections.iter().map(|section| tunnel::read(section, backend, &mut claims)).collect();
    Ok(Config { tunnels: tunnels.into_iter().collect::<Result<_, _>>()? })
}
