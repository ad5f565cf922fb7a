//! What the kernel refuses after the point of no return aborts: it is not passed on half rewritten.

use bytemuck::Pod;
use l2xdp_common::host::HostFrame;
use l2xdp_common::inner::Checksums;
use l2xdp_common::pseudowire::{Cookie, L2Spec, Mss, Output, Path, Pseudowire, Seq, Tos};
use l2xdp_common::session::Clamp;
use l2xdp_common::wire::Be16;
use l2xdp_common::{Frame, Reason, Verdict, decap, encap};
use std::net::{IpAddr, Ipv4Addr};

/// What a frame's hook does not let it do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    Prepend,
    ShrinkHead,
    Truncate,
}

struct Refusing(HostFrame, Refused);

impl Refusing {
    fn allow(&mut self, what: Refused) -> Result<&mut HostFrame, Reason> {
        if self.1 == what { Err(Reason::Room) } else { Ok(&mut self.0) }
    }
}

impl Frame for Refusing {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn header<T: Pod>(&self, offset: usize) -> Result<&T, Reason> {
        self.0.header(offset)
    }
    fn header_mut<T: Pod>(&mut self, offset: usize) -> Result<&mut T, Reason> {
        self.0.header_mut(offset)
    }
    fn prepend(&mut self, n: usize) -> Result<(), Reason> {
        self.allow(Refused::Prepend)?.prepend(n)
    }
    fn shrink_head(&mut self, n: usize) -> Result<(), Reason> {
        self.allow(Refused::ShrinkHead)?.shrink_head(n)
    }
    fn truncate(&mut self, len: usize) -> Result<(), Reason> {
        self.allow(Refused::Truncate)?.truncate(len)
    }
    fn sum(&mut self, offset: usize, len: usize) -> Result<u16, Reason> {
        self.0.sum(offset, len)
    }
    fn update_checksum(&mut self, offset: usize, old: Be16, new: Be16) -> Result<(), Reason> {
        self.0.update_checksum(offset, old, new)
    }
    fn clamp_mss(&mut self, clamp: &Clamp, popped: usize) -> Result<(), Reason> {
        self.0.clamp_mss(clamp, popped)
    }
    fn judge_checksums(&mut self, at: usize) -> Checksums {
        self.0.judge_checksums(at)
    }
    fn write_checksum(&mut self, outer_len: usize, ipv6: bool) -> Result<(), Reason> {
        self.0.write_checksum(outer_len, ipv6)
    }
    fn check_checksum(&mut self, outer_len: usize, flags: u32) -> Result<(), Reason> {
        self.0.check_checksum(outer_len, flags)
    }
    fn check_finished(&mut self, flags: u32) -> Result<(), Reason> {
        self.0.check_finished(flags)
    }

    fn is_bare(&self) -> bool {
        self.0.is_bare()
    }
    fn segment_len(&self) -> usize {
        self.0.segment_len()
    }
    fn segments(&self) -> u32 {
        self.0.segments()
    }
    fn detached_tags(&self) -> usize {
        self.0.detached_tags()
    }
}

fn pseudowire(vlan: Option<u16>) -> Pseudowire {
    Pseudowire {
        local: IpAddr::V4(Ipv4Addr::LOCALHOST),
        remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
        udp_sport: 1,
        udp_dport: 1,
        peer_session_id: 1,
        cookie: Cookie::default(),
        peer_cookie: Cookie::default(),
        l2spec: L2Spec::Default,
        ttl: 64,
        tos: Tos::Fixed(0),
        checksum: false,
        zero_csum6_rx: false,
        seq: Seq::default(),
        mss: Mss::Off,
        vlan,
    }
}

const PATH: Path = Path { ifindex: 3, src_mac: [1; 6], dst_mac: [2; 6], mtu: 1500 };

/// A frame of VLAN 5.
fn tagged() -> HostFrame {
    HostFrame::bare(&[&[0; 12][..], &[0x81, 0, 0, 5, 0x88, 0xb5], &[0; 46]].concat())
}

fn encap_refusing(what: Refused) -> Result<usize, Reason> {
    encap::encap(&mut Refusing(tagged(), what), &pseudowire(Some(5)).tx(0, Some(&PATH), 0, 0))
}

fn decap_refusing(what: Refused) -> Result<usize, Reason> {
    let (sender, output) = (pseudowire(Some(5)), Output::Port { ifindex: 2, mtu: 1500 });
    let mut frame = tagged();
    encap::encap(&mut frame, &sender.tx(0, Some(&PATH), 0, 0)).expect("nothing is refused");
    frame.bytes.push(0);
    decap::decap(&mut Refusing(frame, what), &sender.rx(0, Some(&PATH), output, 0))
}

#[test]
fn what_is_refused_aborts() {
    assert_eq!(encap_refusing(Refused::Prepend), Err(Reason::Room), "no room for outer headers");
    assert_eq!(encap_refusing(Refused::ShrinkHead), Err(Reason::Room), "the tag stays");
    assert!(encap_refusing(Refused::Truncate).is_ok(), "nothing is cut off");
    assert_eq!(decap_refusing(Refused::Truncate), Err(Reason::Room), "what is behind the datagram stays");
    assert_eq!(decap_refusing(Refused::ShrinkHead), Err(Reason::Room), "the outer headers stay");
    assert_eq!(decap_refusing(Refused::Prepend), Err(Reason::Room), "no room for the tag");
    assert_eq!(Reason::Room.verdict(), Verdict::Abort);
}
