//! The slow path of standalone sessions: what the programs leave, carried in user space as the kernel's `l2tp_eth`
//! would carry it.
//!
//! ```text
//!  programs ── perf event array ──→ handed_over ──→ served ──→ tunnel_socket ── the kernel fragments ──→ peer
//!  peer ── the kernel reassembles ──→ tunnel_socket ──→ served ──→ packet socket ──→ hidden end, or port
//! ```
//!
//! The tunnels' UDP sockets also own the ports, so that nobody else takes them and peers are not told "port
//! unreachable".

mod handed_over;
mod sequence;
mod served;
#[cfg(test)]
mod tests;
mod tunnel_socket;

use crate::config::Tunnel;
use crate::sys;
use anyhow::{Context, Result};
use aya::maps::{MapData, PerfEventArray};
use l2xdp_common::host::HostFrame;
use l2xdp_common::pseudowire::Pseudowire;
use l2xdp_common::wire::L2tpUdp;
use serde::{Deserialize, Serialize};
use served::Served;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tunnel_socket::TunnelSocket;

/// A standalone session, as the slow path serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowSession {
    /// Our session id.
    pub session_id: u32,
    /// What the programs call it: [`TxSession::slot`](l2xdp_common::TxSession::slot).
    pub slot: u32,
    /// What its ends agree on.
    pub pseudowire: Pseudowire,
    /// The device that received frames are sent out of: the hidden end of a pseudowire's device, or the port.
    pub output: u32,
    /// The longest outer packet of the path, in bytes, for the MSS clamp.
    pub path_mtu: u32,
}

/// What the slow path carried of a session, by the kernel's names (`L2TP_ATTR_STATS`); bytes are those of inner Ethernet
/// frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's names")]
pub struct SlowCounters {
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub tx_errors: u64,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    /// Messages that were not delivered, those of the next two counters among them.
    pub rx_errors: u64,
    pub rx_cookie_discards: u64,
    pub rx_seq_discards: u64,
    /// Always 0, as the kernel's is without a reorder timeout.
    pub rx_oos_packets: u64,
}

/// Datagrams that a tunnel's socket received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketCounters {
    /// Control messages (T bit).
    pub control: u64,
    /// Data messages: of unknown sessions, reassembled from fragments, or otherwise not for the fast path.
    pub data: u64,
    /// Not L2TPv3, or too short to be a message.
    pub invalid: u64,
}

/// The slow path. Its tasks end with it.
pub struct SlowPath {
    shared: Arc<Shared>,
    /// One for each of the tunnels' sockets: they receive.
    receivers: BTreeMap<SocketAddr, JoinSet<()>>,
    /// They read what the programs hand over.
    readers: JoinSet<()>,
}

/// What the tasks have in common. All run on one thread: nobody waits for the lock.
struct Shared {
    state: Mutex<State>,
    /// Sends received frames out of any device.
    packet_socket: OwnedFd,
}

#[derive(Default)]
struct State {
    /// By our session id.
    sessions: HashMap<u32, Served>,
    /// Session ids by slot.
    slots: HashMap<u32, u32>,
    sockets: BTreeMap<SocketAddr, TunnelSocket>,
}

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<'a> {
    Control,
    Data {
        /// Ours.
        session_id: u32,
        /// What follows the L2TP header.
        tail: &'a [u8],
    },
    Invalid,
}

/// The longest UDP datagram, in bytes.
const MAX_DATAGRAM: usize = 65_535;

/// The shortest data message that the kernel looks at, in bytes (`L2TP_HDR_SIZE_MAX`).
const MIN_DATA: usize = 14;

impl SlowCounters {
    /// Name and value of each counter.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("tx_packets", self.tx_packets),
            ("tx_bytes", self.tx_bytes),
            ("tx_errors", self.tx_errors),
            ("rx_packets", self.rx_packets),
            ("rx_bytes", self.rx_bytes),
            ("rx_errors", self.rx_errors),
            ("rx_cookie_discards", self.rx_cookie_discards),
            ("rx_seq_discards", self.rx_seq_discards),
            ("rx_oos_packets", self.rx_oos_packets),
        ]
        .into_iter()
    }
}

impl SlowPath {
    /// A slow path without tunnels or sessions.
    ///
    /// # Errors
    /// `EPERM`.
    pub fn new() -> Result<Self> {
        let packet_socket = sys::packet_socket().context("can't open a packet socket")?;
        let shared = Arc::new(Shared { state: Mutex::default(), packet_socket });
        Ok(Self { shared, receivers: BTreeMap::new(), readers: JoinSet::new() })
    }

    /// Opens the sockets that tunnels need, one for each local address and port, and closes those that no tunnel needs
    /// any more, whose ports are free as soon as the runtime has had a turn.
    ///
    /// # Errors
    /// An address that is not ours, a port in use: with the mend. Nothing has changed then.
    pub fn bind(&mut self, tunnels: &[Tunnel]) -> Result<()> {
        let mut opened = BTreeMap::new();
        for tunnel in tunnels {
            let address = address(tunnel);
            if !self.receivers.contains_key(&address) && !opened.contains_key(&address) {
                let open = || -> Result<_> {
                    let socket = TunnelSocket::bind(address)?;
                    let reader = socket.reader()?;
                    Ok((socket, reader))
                };
                opened.insert(address, open().with_context(|| format!("tunnel {}", tunnel.tunnel_id))?);
            }
        }
        let accepting: BTreeSet<_> =
            tunnels.iter().filter(|tunnel| tunnel.zero_csum6_rx).map(address).collect();
        let mut state = self.shared.lock();
        let new = opened.iter().map(|(at, (socket, _))| (at, socket));
        for (at, socket) in state.sockets.iter().chain(new).filter(|(at, _)| at.is_ipv6()) {
            socket.accept_no_checksum6(accepting.contains(at)).with_context(|| format!("UDP {at}"))?;
        }
        let needed: BTreeSet<_> = tunnels.iter().map(address).collect();
        self.receivers.retain(|address, _| needed.contains(address));
        state.sockets.retain(|address, _| needed.contains(address));
        for (address, (socket, reader)) in opened {
            state.sockets.insert(address, socket);
            let mut receiver = JoinSet::new();
            receiver.spawn(receive(reader, address, Arc::clone(&self.shared)));
            self.receivers.insert(address, receiver);
        }
        Ok(())
    }

    /// From now on these are the sessions. Counters and sequence numbers of those that stay go on.
    pub fn serve(&self, sessions: Vec<SlowSession>) {
        self.shared.lock().serve(sessions);
    }

    /// Sends what the programs hand over in this map, from now on.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn read(&mut self, frames: PerfEventArray<MapData>) -> Result<()> {
        self.readers = handed_over::read(frames, &self.shared)?;
        Ok(())
    }

    /// What the slow path carried of a session; zeros if it does not serve it.
    pub fn counters(&self, session_id: u32) -> SlowCounters {
        self.shared.lock().sessions.get(&session_id).map(|served| served.counters).unwrap_or_default()
    }

    /// Do messages of a session carry sequence numbers now? The peer may have switched them on or off, whatever is
    /// configured; while they do, both directions are the slow path's business.
    pub fn is_sequenced(&self, session_id: u32) -> bool {
        self.shared.lock().sessions.get(&session_id).is_some_and(Served::is_sequenced)
    }

    /// What came in on a tunnel's address and port.
    pub fn socket_counters(&self, tunnel: &Tunnel) -> SocketCounters {
        self.shared.lock().sockets.get(&address(tunnel)).map(|socket| socket.counters).unwrap_or_default()
    }
}

const fn address(tunnel: &Tunnel) -> SocketAddr {
    SocketAddr::new(tunnel.local, tunnel.udp_sport)
}

/// Receives from a socket, until aborted. Tokio sees to it that others have their turn.
async fn receive(socket: UdpSocket, address: SocketAddr, shared: Arc<Shared>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        // Errors are of single datagrams.
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(datagram) = buffer.get(..len) {
            shared.receive(address, from, datagram);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a frame of the session in a slot to its peer.
    fn send(&self, slot: u32, frame: HostFrame) {
        self.lock().send(slot, frame);
    }

    /// Delivers what came in on the socket `at` an address of ours.
    fn receive(&self, at: SocketAddr, from: SocketAddr, datagram: &[u8]) {
        let deliver = |output, frame: &[u8]| sys::send_frame(&self.packet_socket, output, frame);
        self.lock().receive(at, from, datagram, deliver);
    }
}

impl State {
    fn serve(&mut self, sessions: Vec<SlowSession>) {
        let mut old = std::mem::take(&mut self.sessions);
        self.slots = sessions.iter().map(|session| (session.slot, session.session_id)).collect();
        for session in sessions {
            let mut served = old.remove(&session.session_id).unwrap_or_else(|| Served::new(session));
            served.update(session);
            self.sessions.insert(session.session_id, served);
        }
    }

    fn send(&mut self, slot: u32, frame: HostFrame) {
        let session_id = self.slots.get(&slot);
        let Some(served) = session_id.and_then(|id| self.sessions.get_mut(id)) else { return };
        let pseudowire = served.session.pseudowire;
        let at = SocketAddr::new(pseudowire.local, pseudowire.udp_sport);
        let Some(socket) = self.sockets.get_mut(&at) else { return };
        served.send(frame, |message| socket.send(&pseudowire, &message.bytes, message.tos));
    }

    fn receive(
        &mut self,
        at: SocketAddr,
        from: SocketAddr,
        datagram: &[u8],
        deliver: impl FnOnce(u32, &[u8]) -> io::Result<()>,
    ) {
        let Some(socket) = self.sockets.get_mut(&at) else { return };
        let counters = &mut socket.counters;
        let (session_id, tail) = match Kind::of(datagram) {
            Kind::Control => return counters.control += 1,
            Kind::Invalid => return counters.invalid += 1,
            Kind::Data { session_id, tail } => (session_id, tail),
        };
        let served = self.sessions.get_mut(&session_id).filter(|served| served.is_between(at, from));
        if served.as_ref().is_some_and(|served| tail.len() < served.tail_len()) {
            return counters.invalid += 1;
        }
        counters.data += 1;
        if let Some(served) = served {
            served.receive(tail, deliver);
        }
    }
}

impl<'a> Kind<'a> {
    fn of(datagram: &'a [u8]) -> Self {
        let Some((header, tail)) = datagram.split_at_checked(L2tpUdp::LEN) else { return Self::Invalid };
        let header: &L2tpUdp = bytemuck::from_bytes(header);
        if header.is_control() {
            return Self::Control;
        }
        if !header.is_data() || datagram.len() < MIN_DATA {
            return Self::Invalid;
        }
        Self::Data { session_id: header.session_id.get(), tail }
    }
}
