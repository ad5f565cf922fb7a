//! IP packets made byte by byte, to be wrong where a test wants them to be.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};

use crate::frames::Send as _;
use crate::netns::Namespace;
use crate::packet::PacketSocket;

/// What a UDP datagram is to look like.
#[derive(Clone, Debug)]
pub struct Message {
    /// From whom it says it is.
    pub from: SocketAddr,
    /// To whom it is.
    pub to: SocketAddr,
    /// What follows the UDP header.
    pub payload: Vec<u8>,
    /// The UDP header's checksum.
    pub checksum: Checksum,
    /// IPv4 options or IPv6 extension headers, the latter with their first one's number.
    pub options: Option<(u8, Vec<u8>)>,
    /// What the UDP header claims beyond the payload, in bytes.
    pub claimed: u16,
    /// Bytes behind the datagram, within the IP packet.
    pub behind: Vec<u8>,
    /// Bytes behind the IP packet, as a short Ethernet frame has them.
    pub padding: usize,
}

/// A UDP checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// None: 0.
    None,
    /// As it is to be.
    Right,
    /// Another.
    Wrong,
}

/// Where messages enter the wire: at the router, as if they were forwarded.
#[derive(Debug)]
pub struct Injector {
    socket: PacketSocket,
    macs: [u8; 12],
}

const UDP: u8 = 17;
const FRAGMENT: u8 = 44;

impl Message {
    /// A right one, with a checksum over IPv6 and none over IPv4.
    pub fn new(from: SocketAddr, to: SocketAddr, payload: Vec<u8>) -> Self {
        Self {
            from,
            to,
            payload,
            checksum: if from.is_ipv4() { Checksum::None } else { Checksum::Right },
            options: None,
            claimed: 0,
            behind: Vec::new(),
            padding: 0,
        }
    }

    /// As one packet.
    pub fn packet(&self) -> Vec<u8> {
        let datagram = self.datagram();
        let (next, options) = self.options.clone().unwrap_or((UDP, Vec::new()));
        let packet = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V6(_), _) => self.ip6(next, &[options, datagram].concat()),
            _ => self.ip4(&options, 0x4000, &datagram),
        };
        [packet, vec![0; self.padding]].concat()
    }

    /// In two fragments.
    pub fn fragments(&self) -> [Vec<u8>; 2] {
        let datagram = self.datagram();
        let (first, second) = datagram.split_at(datagram.len() / 16 * 8);
        let at = (first.len() / 8) as u16;
        if self.from.is_ipv4() {
            return [self.ip4(&[], 0x2000, first), self.ip4(&[], at, second)];
        }
        [(1, first), (at << 3, second)].map(|(field, part)| {
            let [high, low] = u16::to_be_bytes(field);
            self.ip6(FRAGMENT, &[&[UDP, 0, high, low, 0, 0, 0, 9], part].concat())
        })
    }

    fn datagram(&self) -> Vec<u8> {
        let len = (8 + self.payload.len() as u16 + self.claimed).to_be_bytes();
        let ports = [self.from.port().to_be_bytes(), self.to.port().to_be_bytes()].concat();
        let with = |checksum: [u8; 2]| [&ports, len.as_slice(), &checksum, &self.payload].concat();
        let pseudo = [octets(self.from.ip()), octets(self.to.ip()), len.to_vec(), vec![0, UDP]];
        let right = match !sum(&[pseudo.concat(), with([0, 0])].concat()) {
            0 => 0xffff,
            right => right,
        };
        let datagram = with(match self.checksum {
            Checksum::None => [0, 0],
            Checksum::Right => right.to_be_bytes(),
            Checksum::Wrong => right.wrapping_add(1).max(1).to_be_bytes(),
        });
        [datagram.as_slice(), &self.behind].concat()
    }

    fn ip4(&self, options: &[u8], fragment: u16, payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + options.len();
        let len = ((header_len + payload.len()) as u16).to_be_bytes();
        let first = 0x40 | (header_len / 4) as u8;
        let [high, low] = fragment.to_be_bytes();
        let head = |[a, b]: [u8; 2]| {
            let fields = [first, 0, len[0], len[1], 0, 9, high, low, 64, UDP, a, b];
            [fields.as_slice(), &octets(self.from.ip()), &octets(self.to.ip()), options].concat()
        };
        [head((!sum(&head([0, 0]))).to_be_bytes()), payload.to_vec()].concat()
    }

    fn ip6(&self, next: u8, payload: &[u8]) -> Vec<u8> {
        let [high, low] = (payload.len() as u16).to_be_bytes();
        let fields = [0x60, 0, 0, 0, high, low, next, 64];
        [fields.as_slice(), &octets(self.from.ip()), &octets(self.to.ip()), payload].concat()
    }
}

impl Injector {
    /// On a device of the router, to the device it is joined to.
    pub fn open(router: &Namespace, device: &str, gateway: &Namespace, its: &str) -> Result<Self> {
        let macs = [mac(gateway, its)?, mac(router, device)?].concat();
        let macs = macs.try_into().ok().context("two MACs are 12 bytes")?;
        Ok(Self { socket: PacketSocket::open(router, device)?, macs })
    }

    /// Sends an IP packet.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        let ethertype: [u8; 2] = if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
        self.socket.send(&[self.macs.as_slice(), &ethertype, packet].concat())
    }
}

/// The MAC of a device.
pub fn mac(namespace: &Namespace, device: &str) -> Result<Vec<u8>> {
    let words = namespace.run(&format!("ip -o link show {device}"))?;
    let mac = words.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).context("no MAC")?;
    Ok(mac.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The ones' complement sum of RFC 1071, not inverted.
pub fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
