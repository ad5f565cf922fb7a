//! What goes in comes out, and what is on the wire between is right to the byte.

use crate::TIME;
use crate::frames::{Checksum, Inner};
use crate::options::{PORT, Receiver, Shape, Values};
use crate::oracle;
use bolero::check;
use l2xdp_common::host::HostFrame;
use l2xdp_common::pseudowire::Mss;
use l2xdp_common::{Reason, decap, encap};

/// For every combination of options, over frames of XDP's and of TC's.
#[test]
fn decap_undoes_encap() {
    check!().with_test_time(TIME).with_type::<(Values, Inner)>().for_each(|(values, inner)| {
        for shape in Shape::all() {
            for frame in [HostFrame::bare, HostFrame::settled] {
                round_trip(values, inner, shape, frame);
            }
        }
    });
}

fn round_trip(values: &Values, inner: &Inner, shape: Shape, frame: fn(&[u8]) -> HostFrame) {
    let sender = values.pseudowire(shape, Mss::Off);
    let (path, tagged) = (values.path(), inner.bytes(sender.vlan));
    let receiver = Receiver::of(&sender, Some(&path), PORT, 0);

    let mut on_wire = frame(&tagged);
    let result = encap::encap(&mut on_wire, &sender.tx(0, Some(&path), 0));
    let untagged = inner.bytes(None);
    if untagged.len() > usize::from(sender.max_inner(path.mtu)) {
        assert_eq!((result, on_wire.bytes), (Err(Reason::TooBig), tagged));
        return;
    }
    assert_eq!(result, Ok(untagged.len()));
    // What stands behind a packet whose checksum is unfinished is of no use to anyone, and is not summed.
    if inner.checksum() != Some(Checksum::Unfinished) || !shape.checksum {
        let finished = inner.finished(None);
        let expected = oracle::message(&sender, &path, inner.dscp(sender.vlan), &untagged, &finished);
        assert_eq!(on_wire.bytes, expected);
    }

    let found = decap::find(&mut on_wire, &receiver);
    assert_eq!(found, Ok(&receiver.rx));
    assert_eq!(decap::decap(&mut on_wire, &receiver.rx), Ok(()));
    assert_eq!(on_wire.bytes, tagged);
}

/// An outer checksum over an inner one that a device is yet to finish.
#[test]
fn outer_checksum_over_unfinished() {
    check!().with_test_time(TIME).with_type::<(Values, Shape, Inner)>().cloned().for_each(
        |(values, shape, inner)| {
            let inner = inner.without_trailer();
            let sender = values.pseudowire(Shape { checksum: true, ..shape }, Mss::Off);
            let (path, mut frame) = (values.path(), HostFrame::skb(&inner.bytes(sender.vlan)));
            if !inner.can_be_finished() || encap::encap(&mut frame, &sender.tx(0, Some(&path), 0)).is_err() {
                return;
            }
            let (sent, finished) = (inner.bytes(None), inner.finished(None));
            let dscp = inner.dscp(sender.vlan);
            assert_eq!(frame.bytes, oracle::message(&sender, &path, dscp, &sent, &finished));
        },
    );
}
