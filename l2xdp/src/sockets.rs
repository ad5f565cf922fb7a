//! The tunnels' UDP sockets: they own the ports, so that nobody else takes them and peers are not told "port
//! unreachable", and they get what the fast path leaves to the kernel.

use crate::config::Tunnel;
use anyhow::{Context, Result};
use l2xdp_common::wire::L2tpUdp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Datagrams that a tunnel's socket received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketCounters {
    /// Control messages (T bit).
    pub control: u64,
    /// Data messages: of unknown sessions, reassembled from fragments, or otherwise not for the fast path.
    pub data: u64,
    /// Not L2TPv3.
    pub invalid: u64,
}

#[derive(Default)]
struct Counts {
    control: AtomicU64,
    data: AtomicU64,
    invalid: AtomicU64,
}

struct Socket {
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

/// All sockets, one for each local address and port: tunnels may share them.
#[derive(Default)]
pub struct Sockets(BTreeMap<SocketAddr, Socket>);

impl Sockets {
    /// Opens the sockets that tunnels need.
    ///
    /// # Errors
    /// An address that is not ours, a port in use: with the mend.
    pub fn open(tunnels: &[Tunnel]) -> Result<Self> {
        let mut sockets = Self::default();
        for tunnel in tunnels {
            let address = SocketAddr::new(tunnel.local, tunnel.udp_sport);
            if let Entry::Vacant(entry) = sockets.0.entry(address) {
                let socket = bind(address).with_context(|| format!("tunnel {}", tunnel.tunnel_id))?;
                entry.insert(Socket::new(socket));
            }
        }
        Ok(sockets)
    }

    /// What came in on a tunnel's address and port.
    pub fn counters(&self, tunnel: &Tunnel) -> SocketCounters {
        let Some(socket) = self.0.get(&SocketAddr::new(tunnel.local, tunnel.udp_sport)) else {
            return SocketCounters::default();
        };
        let Counts { control, data, invalid } = &*socket.counts;
        SocketCounters {
            control: control.load(Relaxed),
            data: data.load(Relaxed),
            invalid: invalid.load(Relaxed),
        }
    }
}

impl Socket {
    fn new(socket: UdpSocket) -> Self {
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(receive(socket, Arc::clone(&counts)));
        Self { counts, task }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn bind(address: SocketAddr) -> Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address).map_err(|error| {
        let mend = match error.kind() {
            io::ErrorKind::AddrNotAvailable => {
                format!("local = \"{0}\" is not an address of this host: ip address add {0}/… dev …", address.ip())
            }
            io::ErrorKind::AddrInUse => format!(
                "udp_sport = {0} is in use on {1}: find its owner with ss -lunp sport = :{0}, or choose another port",
                address.port(),
                address.ip()
            ),
            _ => format!("can't open UDP {address}"),
        };
        anyhow::Error::new(error).context(mend)
    })?;
    socket.set_nonblocking(true)?;
    Ok(UdpSocket::from_std(socket)?)
}

async fn receive(socket: UdpSocket, counts: Arc<Counts>) {
    let mut buffer = [0; size_of::<L2tpUdp>()];
    loop {
        // Errors are of single datagrams (ICMP); a datagram longer than the buffer is cut, which is all it takes.
        let Ok((len, _)) = socket.recv_from(&mut buffer).await else { continue };
        let header: &L2tpUdp = bytemuck::must_cast_ref(&buffer);
        let count = match (len, header.is_control(), header.is_v3()) {
            (..L2tpUdp::LEN, ..) => &counts.invalid,
            (_, true, _) => &counts.control,
            (_, false, true) => &counts.data,
            (_, false, false) => &counts.invalid,
        };
        count.fetch_add(1, Relaxed);
    }
}
