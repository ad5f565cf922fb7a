//! The MSS clamp touches the MSS and the TCP checksum, and nothing else.

use crate::TIME;
use crate::frames::Inner;
use crate::options::{PORT, Receiver, Shape, Values};
use crate::oracle;
use bolero::check;
use l2xdp_common::host::HostFrame;
use l2xdp_common::pseudowire::Mss;
use l2xdp_common::{decap, encap};

/// On the way out and on the way in.
#[test]
fn clamp_lowers_the_mss_and_keeps_the_checksum() {
    check!().with_test_time(TIME).with_type::<(Values, Shape, Inner, u16)>().for_each(
        |(values, shape, inner, limit)| {
            let shape = Shape { vlan: false, checksum: false, ..*shape };
            let (path, frame) = (values.path(), inner.bytes(None));
            let on = values.pseudowire(shape, Mss::Fixed(*limit));
            let off = values.pseudowire(shape, Mss::Off);
            let expected = clamped(&frame, *limit);

            let mut sent = HostFrame::bare(&frame);
            if encap::encap(&mut sent, &on.tx(0, Some(&path), 0, 0)).is_err() {
                return;
            }
            let outer_len = sent.bytes.len() - frame.len();
            assert_eq!(sent.bytes[outer_len..], expected);

            let mut received = HostFrame::bare(&frame);
            encap::encap(&mut received, &off.tx(0, Some(&path), 0, 0)).expect("it was sent above");
            let receiver = Receiver::of(&on, Some(&path), PORT, 0);
            decap::decap(&mut received, &receiver.rx).expect("it was sent");
            assert_eq!(received.bytes, expected);
        },
    );
}

/// The checksum's error, if it has one, is kept: the segment sums to what it summed to.
fn clamped(frame: &[u8], limit: u16) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    let Some((value, checksum)) = oracle::mss_of_syn(frame) else { return bytes };
    let mss = u16::from_be_bytes([frame[value], frame[value + 1]]);
    if limit == 0 || mss <= limit {
        return bytes;
    }
    bytes[value..value + 2].copy_from_slice(&limit.to_be_bytes());
    bytes[checksum..checksum + 2].copy_from_slice(&[0, 0]);
    let (tcp, mut before) = (checksum - 16, frame.to_vec());
    before[checksum..checksum + 2].copy_from_slice(&[0, 0]);
    let (now, then) = (oracle::sum(&[&bytes[tcp..]]), oracle::sum(&[&before[tcp..]]));
    let old = u16::from_be_bytes([frame[checksum], frame[checksum + 1]]);
    let new = !oracle::sum(&[&(!old).to_be_bytes(), &(!then).to_be_bytes(), &now.to_be_bytes()]);
    bytes[checksum..checksum + 2].copy_from_slice(&new.to_be_bytes());
    bytes
}
