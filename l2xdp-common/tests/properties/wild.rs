//! Whatever comes, nothing panics, and what is refused is as it was.

use crate::TIME;
use crate::frames::Inner;
use crate::options::{Receiver, Shape, Values};
use crate::oracle;
use bolero::{TypeGenerator, check};
use l2xdp_common::host::HostFrame;
use l2xdp_common::pseudowire::{Mss, Output};
use l2xdp_common::session::{Clamp, flag};
use l2xdp_common::{Reason, Sessions as _, Verdict, decap, encap, mss};

/// Bytes, or something that had a meaning once.
#[derive(Clone, Debug, TypeGenerator)]
enum Wild {
    Bytes(Vec<u8>),
    Damaged { inner: Inner, at: u16, with: Vec<u8>, len: u16 },
}

impl Wild {
    fn damage(&self, mut message: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => return bytes.clone(),
            Self::Damaged { at, with, len, .. } => {
                let at = usize::from(*at) % (message.len() + 1);
                for (byte, damage) in message[at..].iter_mut().zip(with) {
                    *byte = *damage;
                }
                // Half of them keep their length.
                message.truncate(usize::from(*len) % (2 * message.len() + 1));
            }
        }
        message
    }

    fn inner(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Damaged { inner, .. } => inner.bytes(None),
        }
    }
}

/// What a session's map value may hold besides what its [`Shape`] says, and what the hook may know.
#[derive(Clone, Copy, Debug, TypeGenerator)]
struct Circumstances {
    flags: u32,
    clamp: [u16; 3],
    limit: u16,
    route: bool,
    bare: bool,
    settled: bool,
    #[generator(bolero::generator::one_of([0usize, 0, 1, 1400]))]
    segment_len: usize,
    #[generator(1..=64)]
    segments: u32,
}

impl Circumstances {
    /// All but the flag that says the underlay is IPv6, which belongs to the shape.
    const FLAGS: u32 = !flag::IPV6;

    fn clamp(&self) -> Clamp {
        Clamp { ipv4: self.clamp[0], ipv6: self.clamp[1], tag_mask: self.clamp[2] }
    }

    fn frame(&self, bytes: Vec<u8>) -> HostFrame {
        HostFrame {
            bytes,
            bare: self.bare,
            settled: self.settled,
            segment_len: self.segment_len,
            segments: self.segments,
        }
    }
}

/// Encapsulation of anything.
#[test]
fn anything_to_encapsulate() {
    check!().with_test_time(TIME).with_type::<(Values, Shape, Circumstances, Wild)>().for_each(
        |(values, shape, circumstances, wild)| {
            let path = values.path();
            let flags = circumstances.flags & Circumstances::FLAGS;
            let mut tx =
                values.pseudowire(*shape, Mss::Auto).tx(0, circumstances.route.then_some(&path), 0, flags);
            tx.clamp = circumstances.clamp();
            tx.max_inner = circumstances.limit;
            let before = wild.damage(wild.inner());
            let mut frame = circumstances.frame(before.clone());
            if let Err(reason) = encap::encap(&mut frame, &tx) {
                unchanged(reason, &frame, &before);
            }

            tx.flags &= USUAL_FLAGS;
            let [mut usual, mut frame] = [(); 2].map(|()| HostFrame::bare(&before));
            if encap::is_usual(&usual, &tx) {
                let results = [encap::encap_usual(&mut usual, &tx), encap::encap(&mut frame, &tx)];
                assert_eq!((results[0], usual.bytes), (results[1], frame.bytes));
            }
        },
    );
}

/// Decapsulation of anything.
#[test]
fn anything_to_decapsulate() {
    check!().with_test_time(TIME).with_type::<(Values, Shape, Circumstances, Wild)>().for_each(
        |(values, shape, circumstances, wild)| {
            let sender = values.pseudowire(*shape, Mss::Auto);
            let output = Output::Port { ifindex: 2, mtu: circumstances.limit.into() };
            let flags = circumstances.flags & Circumstances::FLAGS;
            let mut receiver = Receiver::of(&sender, Some(&values.path()), output, flags);
            receiver.rx.clamp = circumstances.clamp();
            let inner = wild.inner();
            let before = wild.damage(oracle::message(&sender, &values.path(), 0, &inner, &inner));
            let mut frame = circumstances.frame(before.clone());
            let result = decap::find(&mut frame, &receiver).and_then(|rx| decap::decap(&mut frame, rx));
            if let Err(reason) = result {
                unchanged(reason, &frame, &before);
            }

            receiver.rx.flags &= USUAL_FLAGS;
            let [mut usual, mut frame] = [(); 2].map(|()| HostFrame::bare(&before));
            if let Some(rx) = decap::find_usual(&usual, |id| receiver.rx(id)) {
                let found = decap::find(&mut frame, &receiver);
                assert_eq!(found, Ok(rx));
                let results = [decap::decap_usual(&mut usual, rx), decap::decap(&mut frame, rx)];
                assert_eq!((results[0], usual.bytes), (results[1], frame.bytes));
            }
        },
    );
}

/// Those of sessions with a way of their own, and the one that says the underlay is IPv6.
const USUAL_FLAGS: u32 = flag::UNFINISHED | flag::IPV6;

fn unchanged(reason: Reason, frame: &HostFrame, before: &[u8]) {
    // Too short for what its session does to it: dropped, in whatever state.
    if reason.verdict() != Verdict::Abort && reason != Reason::Short {
        assert_eq!(frame.bytes, before, "{reason:?}");
    }
}

/// The walk over TCP options, wherever it is made to begin.
#[test]
fn anything_with_options() {
    check!().with_test_time(TIME).with_type::<(Vec<u8>, u8, u16)>().for_each(|(bytes, tcp, limit)| {
        let (tcp, mut frame) = (usize::from(*tcp), HostFrame::bare(bytes));
        let result = mss::lower(&mut frame, tcp, *limit);
        let differing = bytes.iter().zip(&frame.bytes).filter(|(before, after)| before != after).count();
        assert!(differing <= 4, "more than the MSS and the checksum changed: {result:?}");
        assert!(result.is_ok() || differing == 0);
    });
}
