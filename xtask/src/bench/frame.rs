//! The frames that the generator sends.

use l2xdp_tests::wire::Side;

/// A UDP packet without a checksum, in an Ethernet frame.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    /// Destination and source of the frame.
    pub macs: [u8; 12],
    /// Source and destination of the packet.
    pub addresses: [[u8; 4]; 2],
}

/// A frame in a session, from tun01 to tun02 as it comes out of the router: Ethernet, IPv4, UDP, L2TP with a cookie of
/// eight bytes and the default sublayer, and the frame.
pub struct Tunnelled {
    /// Destination and source of the outer frame.
    pub macs: [u8; 12],
    /// Source and destination of the outer packet.
    pub addresses: [[u8; 4]; 2],
    /// Source and destination of the outer datagram.
    pub ports: [u16; 2],
    /// The session, as the receiver calls it.
    pub session: u32,
    /// What the receiver requires.
    pub cookie: [u8; 8],
}

/// Of a plain frame, what a generator writes: all but the UDP header's end. A multiple of four bytes.
pub const PLAIN_HEAD: usize = 40;
/// Where the UDP ports are in it.
pub const PLAIN_PORTS: usize = 14 + 20;
/// From the outer Ethernet header to the inner one. A multiple of four bytes.
pub const HEAD: usize = 14 + OUTER + ETHERNET;
/// Where the session's id is in it.
pub const SESSION: usize = 14 + 20 + 8 + 4;
const OUTER: usize = 20 + 8 + 8 + 8 + 4;
const ETHERNET: usize = 14;

/// To the group of all hosts: no bridge has to look for it, no host has to be that one.
const TO_ALL: Plain = Plain {
    macs: [0x01, 0x00, 0x5e, 0, 0, 1, 0x02, 0, 0, 0, 0, 1],
    addresses: [[192, 168, 0, 1], [224, 0, 0, 1]],
};

impl Plain {
    /// Of `length` bytes, its Ethernet header included.
    pub fn bytes(&self, length: usize) -> Vec<u8> {
        let [from, to] = self.addresses;
        let mut bytes = self.macs.to_vec();
        bytes.extend([0x08, 0x00]);
        bytes.extend(ipv4(from, to, length - ETHERNET));
        bytes.extend(udp([9, 9], length - ETHERNET - 20));
        bytes.resize(length, 0);
        bytes
    }
}

impl Tunnelled {
    /// Of the session that tun02 has with tun01.
    pub fn to_two(macs: [u8; 12]) -> Self {
        Self {
            macs,
            addresses: [[1, 1, 1, 2], [2, 2, 2, 2]],
            ports: [Side::One.port(), Side::Two.port()],
            session: Side::Two.session_id(),
            cookie: 0x0123_4567_89ab_cdef_u64.to_be_bytes(),
        }
    }

    /// With a frame of `length` bytes inside, its Ethernet header included.
    pub fn bytes(&self, length: usize) -> Vec<u8> {
        let [from, to] = self.addresses;
        let mut bytes = self.macs.to_vec();
        bytes.extend([0x08, 0x00]);
        bytes.extend(ipv4(from, to, OUTER + length));
        bytes.extend(udp(self.ports, OUTER - 20 + length));
        bytes.extend([0, 3, 0, 0]);
        bytes.extend(self.session.to_be_bytes());
        bytes.extend(self.cookie);
        bytes.extend([0; 4]);
        bytes.extend(TO_ALL.bytes(length));
        bytes
    }
}

fn ipv4(from: [u8; 4], to: [u8; 4], length: usize) -> [u8; 20] {
    let [high, low] = (length as u16).to_be_bytes();
    let mut header = [0x45, 0, high, low, 0, 0, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[12..16].copy_from_slice(&from);
    header[16..].copy_from_slice(&to);
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    header
}

fn udp([from, to]: [u16; 2], length: usize) -> [u8; 8] {
    let mut header = [0; 8];
    for (place, word) in header.chunks_mut(2).zip([from, to, length as u16]) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_checksums_are_those_of_the_frame() {
        let tunnelled = Tunnelled {
            macs: [2; 12],
            addresses: [[1, 1, 1, 2], [2, 2, 2, 2]],
            ports: [6000, 5000],
            session: 4000,
            cookie: [7; 8],
        };
        let bytes = tunnelled.bytes(64);
        assert_eq!(bytes.len(), 14 + 48 + 64);
        assert_eq!(HEAD % 4, 0);
        assert_eq!(bytes[HEAD - 2..HEAD], [0x08, 0x00], "the inner EtherType");
        assert_eq!(bytes[16..18], 112_u16.to_be_bytes(), "the outer IP length");
        assert_eq!(bytes[38..40], 92_u16.to_be_bytes(), "the outer UDP length");
        let words = bytes[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        assert_eq!(words.sum::<u32>() % 0xffff, 0, "the outer IP checksum");
    }

    #[test]
    fn a_plain_frame_differs_by_its_length_in_the_head_alone() {
        let [short, long] = [64, 1400].map(|length| TO_ALL.bytes(length));
        assert_ne!(short[..PLAIN_HEAD], long[..PLAIN_HEAD]);
        assert_eq!(short[PLAIN_HEAD..], long[PLAIN_HEAD..64]);
    }
}
