//! What goes in comes out, and what is on the wire between is right to the byte.

use crate::TIME;
use crate::frames::Inner;
use crate::options::{PORT, Receiver, Shape, Values};
use crate::oracle;
use bolero::check;
use l2xdp_common::host::HostFrame;
use l2xdp_common::pseudowire::Mss;
use l2xdp_common::{Reason, Sessions as _, decap, encap};

/// For every combination of options, over frames of XDP's, of TC's, and of TC's behind the splitter.
#[test]
fn decap_undoes_encap() {
    check!().with_test_time(TIME).with_type::<(Values, Inner)>().for_each(|(values, inner)| {
        for shape in Shape::all() {
            for frame in [HostFrame::bare, HostFrame::skb, HostFrame::settled] {
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
    let can_be_judged = on_wire.bare || on_wire.settled || !oracle::is_unknown(&tagged);
    let result = encap::encap(&mut on_wire, &sender.tx(0, Some(&path), 0, 0));
    let untagged = inner.bytes(None);
    if untagged.len() > usize::from(sender.max_inner(path.mtu)) {
        assert_eq!((result, on_wire.bytes), (Err(Reason::TooBig), tagged));
        return;
    }
    if shape.checksum && !can_be_judged {
        assert_eq!((result, on_wire.bytes), (Err(Reason::GsoTx), tagged));
        return;
    }
    assert_eq!(result, Ok(untagged.len()));
    // The outer checksum is of the frame as it will be once a device has finished it.
    let finished = oracle::finished(&untagged);
    let expected = oracle::message(&sender, &path, inner.dscp(sender.vlan), &untagged, &finished);
    assert_eq!(on_wire.bytes, expected);

    // A wire's other end gets what a device has finished; a local receiver gets it as it is, with the kernel's note.
    let arrived = if on_wire.bare && shape.checksum { &finished } else { &untagged };
    let inner_at = on_wire.bytes.len() - untagged.len();
    on_wire.bytes[inner_at..].copy_from_slice(arrived);

    if let Some(rx) = decap::find_usual(&on_wire, |id| receiver.rx(id)) {
        let mut usual = HostFrame::bare(&on_wire.bytes);
        assert_eq!((decap::decap_usual(&mut usual, rx), &usual.bytes), (Ok(untagged.len()), arrived));
    }
    let found = decap::find(&mut on_wire, &receiver);
    assert_eq!(found, Ok(&receiver.rx));
    assert_eq!(decap::decap(&mut on_wire, &receiver.rx), Ok(untagged.len()));
    // The VLAN's tag stands behind the MACs.
    let mut expected = arrived.clone();
    expected.splice(12..12, tagged[12..12 + tagged.len() - untagged.len()].iter().copied());
    assert_eq!(on_wire.bytes, expected);
}
