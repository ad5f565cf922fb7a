//! The MSS that TCP offers a host, read from the SYNs that reach it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::netns::Namespace;
use crate::packet::PacketSocket;

/// A watch on the SYNs and SYN-ACKs that come to both ends of a pair.
#[derive(Debug)]
pub struct Syns {
    at_from: PacketSocket,
    at_to: PacketSocket,
}

const LIMIT: Duration = Duration::from_secs(1);
const SYN: u8 = 0x02;
const TCP: u8 = 6;

impl Syns {
    /// From now on.
    pub fn watch(from: &Namespace, to: &Namespace, interface: &str) -> Result<Self> {
        let at_from = PacketSocket::open(from, interface)?;
        Ok(Self { at_from, at_to: PacketSocket::open(to, interface)? })
    }

    /// The first SYN that came to the one end, and the first SYN-ACK that came to the other, must offer this.
    pub fn offered(&self, expected: u16) -> Result<()> {
        for (what, socket) in [("SYN", &self.at_to), ("SYN-ACK", &self.at_from)] {
            let frame = socket.receive(LIMIT, |frame| offered(frame).is_some())?;
            let mss =
                frame.as_deref().and_then(offered).with_context(|| format!("no {what} with an MSS came"))?;
            ensure!(mss == expected, "the {what} was delivered with an MSS of {mss}, not {expected}");
        }
        Ok(())
    }
}

/// The MSS of a SYN over IPv4 without options or IPv6 without extension headers.
fn offered(frame: &[u8]) -> Option<u16> {
    let ip = frame.get(14..)?;
    let tcp = match (frame.get(12..14)?, ip.first()?) {
        ([0x08, 0x00], 0x45) if ip.get(9) == Some(&TCP) => ip.get(20..)?,
        ([0x86, 0xdd], _) if ip.get(6) == Some(&TCP) => ip.get(40..)?,
        _ => return None,
    };
    if tcp.get(13)? & SYN == 0 {
        return None;
    }
    let header_len = usize::from(tcp.get(12)? >> 4) * 4;
    let mut options = tcp.get(20..header_len)?;
    loop {
        match *options {
            [2, 4, high, low, ..] => return Some(u16::from_be_bytes([high, low])),
            [1, ref rest @ ..] => options = rest,
            [kind, len, ..] if kind > 1 && len > 1 => options = options.get(usize::from(len)..)?,
            _ => return None,
        }
    }
}
