//! The UDP socket of a local address and port.

use super::SocketCounters;
use crate::sys;
use anyhow::Result;
use l2xdp_common::pseudowire::Pseudowire;
use std::io;
use std::net::{SocketAddr, UdpSocket};

/// Of `linux/udp.h`, in the names that `libc` has for some targets only.
const UDP_NO_CHECK6_TX: i32 = 101;
const UDP_NO_CHECK6_RX: i32 = 102;

/// Room for what comes in while the daemon is busy, in bytes of the kernel's memory: a thousand frames.
const RECEIVE_BUFFER: i32 = 4 << 20;

/// A socket that sends. [`reader`](Self::reader) is the other half of it.
pub struct TunnelSocket {
    socket: UdpSocket,
    /// How it sends at the moment, `None` before the first message: sessions and packets differ.
    manner: Option<Manner>,
    pub counters: SocketCounters,
}

/// What a socket is told of the headers before a message.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Manner {
    hop_limit: u8,
    tos: u8,
    checksum: bool,
}

impl TunnelSocket {
    /// # Errors
    /// An address that is not ours, a port in use: with the mend.
    pub fn bind(address: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(address).map_err(|error| {
            let mend = match error.kind() {
                io::ErrorKind::AddrNotAvailable => {
                    format!(
                        "local = \"{0}\" is not an address of this host: ip address add {0}/… dev …",
                        address.ip()
                    )
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
        // A wish: without the capability for it the usual room must do.
        let _ = sys::set_number(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER);
        // The kernel's driver ignores DF too: what is too big for the path goes in fragments.
        if address.is_ipv4() {
            sys::set_number(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
        } else {
            sys::set_number(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)?;
        }
        Ok(Self { socket, manner: None, counters: SocketCounters::default() })
    }

    /// The same socket, for the one who receives.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn reader(&self) -> io::Result<tokio::net::UdpSocket> {
        tokio::net::UdpSocket::from_std(self.socket.try_clone()?)
    }

    /// Has the kernel accept messages without a UDP checksum over IPv6, or drop them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn accept_no_checksum6(&self, accept: bool) -> io::Result<()> {
        sys::set_number(&self.socket, libc::IPPROTO_UDP, UDP_NO_CHECK6_RX, accept.into())
    }

    /// Sends a message as a session would have it.
    ///
    /// # Errors
    /// `EMSGSIZE`: it is longer than any datagram. `ENETUNREACH`: no route. `EAGAIN`, `ENOBUFS`: no room.
    pub fn send(&mut self, pseudowire: &Pseudowire, message: &[u8], tos: u8) -> io::Result<()> {
        let manner = Manner { hop_limit: pseudowire.ttl, tos, checksum: pseudowire.checksum };
        if self.manner != Some(manner) {
            self.manner = None;
            self.adopt(manner, pseudowire.local.is_ipv4())?;
            self.manner = Some(manner);
        }
        self.socket.send_to(message, (pseudowire.remote, pseudowire.udp_dport)).map(drop)
    }

    fn adopt(&self, manner: Manner, ipv4: bool) -> io::Result<()> {
        let Manner { hop_limit, tos, checksum } = manner;
        let options = if ipv4 {
            [
                (libc::IPPROTO_IP, libc::IP_TTL, hop_limit),
                (libc::IPPROTO_IP, libc::IP_TOS, tos),
                (libc::SOL_SOCKET, libc::SO_NO_CHECK, (!checksum).into()),
            ]
        } else {
            [
                (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, hop_limit),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, tos),
                (libc::IPPROTO_UDP, UDP_NO_CHECK6_TX, (!checksum).into()),
            ]
        };
        options
            .into_iter()
            .try_for_each(|(level, name, value)| sys::set_number(&self.socket, level, name, value.into()))
    }
}
