//! Inner frames, from the ordinary to the odd.

use crate::oracle;
use bolero::TypeGenerator;

/// A frame, part by part. Lengths are right; what a real sender would not send is in there too.
#[derive(Clone, Debug, TypeGenerator)]
pub struct Inner {
    macs: [u8; 12],
    #[generator(bolero::generator::produce::<Vec<Tag>>().with().len(0usize..=3))]
    tags: Vec<Tag>,
    packet: Packet,
    /// What stands behind the packet.
    #[generator(bolero::generator::produce::<Vec<u8>>().with().len(0usize..=9))]
    trailer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
struct Tag {
    service: bool,
    tci: u16,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Packet {
    V4 {
        tos: u8,
        addresses: [u8; 8],
        #[generator(bolero::generator::one_of([0u8, 0, 0, 1, 10]))]
        option_words: u8,
        #[generator(bolero::generator::one_of([0u16, 0x4000, 0x4000, 0x2000, 0x00b9]))]
        fragment: u16,
        transport: Transport,
    },
    V6 {
        class: u8,
        addresses: [u8; 32],
        transport: Transport,
    },
    Other {
        ethertype: u16,
        bytes: Vec<u8>,
    },
}

#[derive(Clone, Debug, TypeGenerator)]
enum Transport {
    Tcp {
        ports: [u8; 4],
        #[generator(bolero::generator::one_of([0x02u8, 0x12, 0x10, 0x18, 0xff]))]
        flags: u8,
        #[generator(bolero::generator::produce::<Vec<TcpOption>>().with().len(0usize..=6))]
        options: Vec<TcpOption>,
        state: Checksum,
        payload: Vec<u8>,
    },
    Udp {
        ports: [u8; 4],
        state: Checksum,
        payload: Vec<u8>,
    },
    Other {
        protocol: u8,
        bytes: Vec<u8>,
    },
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum TcpOption {
    Nop,
    End,
    Mss(u16),
    SackPermitted,
    WindowScale(u8),
    Timestamps([u8; 8]),
    Odd(#[generator(0..=8)] u8, u8),
}

/// The state of a TCP or UDP checksum.
#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Checksum {
    /// Right.
    Finished,
    /// Of the pseudo-header alone.
    Unfinished,
    /// Something.
    Value(u16),
}

impl Inner {
    /// Its bytes. With a VLAN, that tag comes first.
    pub fn bytes(&self, vlan: Option<u16>) -> Vec<u8> {
        let mut bytes = self.macs.to_vec();
        if let Some(vlan) = vlan {
            bytes.extend([0x81, 0x00]);
            bytes.extend(vlan.to_be_bytes());
        }
        for tag in &self.tags {
            bytes.extend(if tag.service { [0x88, 0xa8] } else { [0x81, 0x00] });
            bytes.extend(tag.tci.to_be_bytes());
        }
        let untagged = self.packet.behind([0; 12].to_vec());
        let mut bytes = self.packet.behind(bytes);
        // A device finishes a checksum over all that is left of the frame.
        if oracle::unfinished(&untagged).is_none() {
            bytes.extend(&self.trailer);
        }
        bytes
    }

    /// The DSCP in its place in a TOS byte: that of the inner packet, if it is behind at most two tags.
    pub fn dscp(&self, vlan: Option<u16>) -> u8 {
        let tags = self.tags.len() + usize::from(vlan.is_some());
        match self.packet {
            Packet::V4 { tos, .. } if tags <= 2 => tos & 0xfc,
            Packet::V6 { class, .. } if tags <= 2 => class & 0xfc,
            _ => 0,
        }
    }
}

impl Packet {
    /// Appended, with its EtherType.
    fn behind(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::V4 { tos, addresses, option_words, fragment, transport } => {
                let header_len = 20 + 4 * usize::from(*option_words);
                let payload = transport.bytes(addresses);
                bytes.extend([0x08, 0x00, 0x45 + option_words, *tos]);
                bytes.extend(((header_len + payload.len()) as u16).to_be_bytes());
                bytes.extend([0, 0]);
                bytes.extend(fragment.to_be_bytes());
                bytes.extend([64, transport.protocol(), 0, 0]);
                bytes.extend(addresses);
                bytes.resize(bytes.len() + header_len - 20, 1);
                bytes.extend(payload);
            }
            Self::V6 { class, addresses, transport } => {
                let payload = transport.bytes(addresses);
                bytes.extend([0x86, 0xdd, 0x60 | class >> 4, class << 4, 0, 0]);
                bytes.extend((payload.len() as u16).to_be_bytes());
                bytes.extend([transport.protocol(), 64]);
                bytes.extend(addresses);
                bytes.extend(payload);
            }
            Self::Other { ethertype, bytes: payload } => {
                // Not one of those above, nor a tag.
                bytes.extend([0x90 | (ethertype >> 8) as u8, *ethertype as u8]);
                bytes.extend(payload);
            }
        }
        bytes
    }
}

impl Transport {
    const fn protocol(&self) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
            Self::Other { protocol: 6 | 17, .. } => 1,
            Self::Other { protocol, .. } => *protocol,
        }
    }

    fn bytes(&self, addresses: &[u8]) -> Vec<u8> {
        let (mut bytes, at, state) = match self {
            Self::Tcp { ports, flags, options, state, payload } => {
                let options = written(options);
                let header_len = 20 + options.len();
                let mut bytes = ports.to_vec();
                bytes.extend([1, 2, 3, 4, 5, 6, 7, 8, (header_len << 2) as u8, *flags, 0xfa, 0xf0]);
                bytes.extend([0, 0, 0, 0]);
                bytes.extend(options);
                bytes.extend(payload);
                (bytes, 16, state)
            }
            Self::Udp { ports, state, payload } => {
                let mut bytes = ports.to_vec();
                bytes.extend((8 + payload.len() as u16).to_be_bytes());
                bytes.extend([0, 0]);
                bytes.extend(payload);
                (bytes, 6, state)
            }
            Self::Other { bytes, .. } => return bytes.clone(),
        };
        let pseudo = oracle::pseudo_header(addresses, self.protocol(), bytes.len());
        let checksum = match *state {
            Checksum::Finished => !oracle::sum(&[&pseudo, &bytes]),
            Checksum::Unfinished => oracle::sum(&[&pseudo]),
            Checksum::Value(value) => value,
        };
        bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

/// As many of the options as fit, padded with NOPs.
fn written(options: &[TcpOption]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for option in options {
        let one = match *option {
            TcpOption::Nop => vec![1],
            TcpOption::End => vec![0],
            TcpOption::Mss(value) => vec![2, 4, (value >> 8) as u8, value as u8],
            TcpOption::SackPermitted => vec![4, 2],
            TcpOption::WindowScale(shift) => vec![3, 3, shift],
            TcpOption::Timestamps(values) => [&[8, 10][..], &values].concat(),
            TcpOption::Odd(kind, len) => vec![kind, len],
        };
        if bytes.len() + one.len() <= 40 {
            bytes.extend(one);
        }
    }
    bytes.resize(bytes.len().next_multiple_of(4), 1);
    bytes
}
