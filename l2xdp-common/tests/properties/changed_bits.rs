//! Every bit of the outer headers matters, or is meant not to.

use crate::TIME;
use crate::options::{PORT, Receiver, Shape, Values};
use crate::oracle;
use bolero::check;
use l2xdp_common::host::HostFrame;
use l2xdp_common::pseudowire::Mss;
use l2xdp_common::{Reason, Sessions as _, decap};

/// A message with one bit changed is taken if RFC and design say that the bit is ignored, and otherwise left alone.
#[test]
fn one_bit_changed() {
    check!().with_test_time(TIME).with_type::<(Values, Shape, u16)>().for_each(|(values, shape, bit)| {
        let sender = values.pseudowire(Shape { vlan: false, ..*shape }, Mss::Off);
        let inner = [0x42; 60];
        let message = oracle::message(&sender, &values.path(), 0, &inner, &inner);
        let receiver = Receiver::of(&sender, None, PORT, 0);
        let bit = usize::from(*bit) % ((message.len() - inner.len()) * 8);
        let (byte, bit) = (bit / 8, 0x80 >> (bit % 8));
        if is_udp_len(shape, byte) && message[byte] & bit != 0 {
            return; // a shorter datagram, with something behind it, is as good as any
        }

        let mut frame = HostFrame::bare(&message);
        frame.bytes[byte] ^= bit;
        if frame.bytes[udp_at(shape) + 6..][..2] == [0, 0] && shape.checksum {
            return; // over IPv4, a datagram without a checksum is as good as any
        }
        let changed = frame.bytes.clone();
        let usual = decap::find_usual(&frame, |id| receiver.rx(id)).is_some();
        let result = decap::find(&mut frame, &receiver).and_then(|rx| decap::decap(&mut frame, rx));
        assert!(result.is_ok() || !usual, "bit {bit:#04x} of byte {byte} is not looked at in what is usual");
        if is_ignored(shape, byte, bit) {
            assert_eq!((result, frame.bytes), (Ok(inner.len()), inner.to_vec()));
        } else {
            assert!(result.is_err(), "bit {bit:#04x} of byte {byte} is not looked at");
            assert_eq!(frame.bytes, changed);
            let cookie = cookie_at(shape)..cookie_at(shape) + shape.cookie_len;
            assert_eq!(result == Err(Reason::Cookie), cookie.contains(&byte), "{result:?}");
        }
    });
}

const fn udp_at(shape: &Shape) -> usize {
    14 + if shape.ipv6 { 40 } else { 20 }
}

const fn cookie_at(shape: &Shape) -> usize {
    udp_at(shape) + 8 + 8
}

fn is_udp_len(shape: &Shape, byte: usize) -> bool {
    byte == udp_at(shape) + 4 || byte == udp_at(shape) + 5
}

/// Is the bit of this byte one that the receiver does not look at?
fn is_ignored(shape: &Shape, byte: usize, bit: u8) -> bool {
    let udp = udp_at(shape);
    let sublayer = cookie_at(shape) + shape.cookie_len;
    match (byte, shape.ipv6) {
        // MACs: the device has looked at them, or takes all.
        (0..12, _) => true,
        // All that IPv4's header checksum is over, and itself.
        (14..34, false) => false,
        // Traffic class, flow label, hop limit.
        (14, true) => bit & 0x0f != 0,
        (15..=17 | 21, true) => true,
        // All that the UDP checksum is over, and itself: where there was none, there is one.
        _ if shape.checksum || byte == udp + 6 || byte == udp + 7 => false,
        // Reserved bits (RFC 3931 §4.1.2.1): all but T and the version; the second 16 bits.
        _ if byte == udp + 8 => bit != 0x80,
        _ if byte == udp + 9 => bit & 0xf0 != 0,
        _ if byte == udp + 10 || byte == udp + 11 => true,
        // The L2-specific sublayer, but for its S bit.
        _ => byte > sublayer || byte == sublayer && bit != 0x40,
    }
}
