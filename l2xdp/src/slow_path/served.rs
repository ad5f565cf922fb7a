//! One session: from frames to messages and back, without sending or receiving any.

use super::sequence::{OutOfSequence, Sequence};
use super::{SlowCounters, SlowSession};
use l2xdp_common::host::HostFrame;
use l2xdp_common::pseudowire::{L2Spec, Pseudowire, Tos};
use l2xdp_common::wire::{Be32, Eth, L2SPEC_DEFAULT, Vlan};
use l2xdp_common::{Frame, encap, mss};
use log::debug;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// A session that is being served.
pub struct Served {
    pub session: SlowSession,
    pub counters: SlowCounters,
    sequence: Sequence,
}

/// A message to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// From the L2TP header on.
    pub bytes: Vec<u8>,
    /// Outer type of service or traffic class.
    pub tos: u8,
    /// Bytes of it that are the frame.
    pub frame_len: usize,
}

/// Why the frame in a message is not delivered.
#[derive(Debug)]
enum Refused {
    /// The message ends before the Ethernet header inside does.
    Short,
    /// The cookie is not the one we require.
    Cookie,
    /// The sequence number, or that there is none.
    Sequence(OutOfSequence),
    /// The output does not take it.
    Output(io::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("it holds no frame"),
            Self::Cookie => f.write_str("wrong cookie"),
            Self::Sequence(OutOfSequence::Discard) => f.write_str("out of sequence"),
            Self::Sequence(OutOfSequence::OutsideWindow) => f.write_str("far out of sequence"),
            Self::Output(error) => write!(f, "the output does not take it: {error}"),
        }
    }
}

impl Served {
    pub fn new(session: SlowSession) -> Self {
        let sequence = Sequence::new(session.pseudowire.seq);
        Self { session, counters: SlowCounters::default(), sequence }
    }

    /// The same session, perhaps changed. Sequence numbers go on unless their configuration changed.
    pub fn update(&mut self, session: SlowSession) {
        if self.sequence.configured() != session.pseudowire.seq {
            self.sequence = Sequence::new(session.pseudowire.seq);
        }
        self.session = session;
    }

    /// Is it this session that uses these addresses and ports, ours and the peer's?
    pub fn is_between(&self, at: SocketAddr, from: SocketAddr) -> bool {
        let Pseudowire { local, remote, udp_sport, udp_dport, .. } = self.session.pseudowire;
        (at.ip(), at.port(), from.ip(), from.port()) == (local, udp_sport, remote, udp_dport)
    }

    /// Cookie and sublayer of a message to us, in bytes.
    pub fn tail_len(&self) -> usize {
        self.session.pseudowire.peer_cookie.wire_len() + self.session.pseudowire.l2spec.wire_len()
    }

    /// Do the messages it sends carry sequence numbers now?
    pub const fn is_sequenced(&self) -> bool {
        self.sequence.is_sending()
    }

    /// Sends a frame, and counts it.
    pub fn send(&mut self, frame: HostFrame, send: impl FnOnce(&Message) -> io::Result<()>) {
        let message = self.wrap(frame);
        match send(&message) {
            Ok(()) => {
                self.counters.tx_packets += 1;
                self.counters.tx_bytes += message.frame_len as u64;
            }
            Err(error) => {
                debug!("session {}: a frame can't be sent: {error}", self.session.session_id);
                self.counters.tx_errors += 1;
            }
        }
    }

    /// Delivers the frame in a message, of which `tail` is what follows the L2TP header, and counts it.
    pub fn receive(&mut self, tail: &[u8], deliver: impl FnOnce(u32, &[u8]) -> io::Result<()>) {
        let output = self.session.output;
        let delivered = self.unwrap(tail).and_then(|frame| {
            deliver(output, &frame.bytes).map_err(Refused::Output)?;
            // As on the wire, where a port's tag is not.
            let pushed = if self.session.pseudowire.vlan.is_some() { Vlan::LEN } else { 0 };
            Ok(frame.bytes.len().saturating_sub(pushed) as u64)
        });
        match delivered {
            Ok(bytes) => {
                self.counters.rx_packets += 1;
                self.counters.rx_bytes += bytes;
            }
            Err(refused) => {
                debug!("session {}: a message is dropped: {refused}", self.session.session_id);
                self.counters.rx_errors += 1;
                match refused {
                    Refused::Cookie => self.counters.rx_cookie_discards += 1,
                    Refused::Sequence(OutOfSequence::Discard) => self.counters.rx_seq_discards += 1,
                    Refused::Sequence(OutOfSequence::OutsideWindow) | Refused::Short | Refused::Output(_) => {
                    }
                }
            }
        }
    }

    /// The message that carries a frame. The programs have taken the tag of a port's one VLAN off.
    fn wrap(&mut self, mut frame: HostFrame) -> Message {
        let pseudowire = self.session.pseudowire;
        self.clamp(&mut frame);
        let tos = match pseudowire.tos {
            Tos::Inherit => encap::inner_dscp(&frame),
            Tos::Fixed(tos) => tos,
        };
        let l2tp = pseudowire.l2tp();
        let sublayer = match pseudowire.l2spec {
            L2Spec::None => Vec::new(),
            L2Spec::Default => self.sequence.send().0.to_vec(),
        };
        let bytes = [bytemuck::bytes_of(&l2tp), pseudowire.cookie.bytes(), &sublayer, &frame.bytes].concat();
        Message { bytes, tos, frame_len: frame.bytes.len() }
    }

    /// The frame in a message, of which `tail` is what follows the L2TP header.
    ///
    /// # Errors
    /// Why it is not to be delivered.
    fn unwrap(&mut self, tail: &[u8]) -> Result<HostFrame, Refused> {
        let pseudowire = &self.session.pseudowire;
        let (cookie, rest) =
            tail.split_at_checked(pseudowire.peer_cookie.wire_len()).ok_or(Refused::Short)?;
        let (sublayer, frame) = rest.split_at_checked(pseudowire.l2spec.wire_len()).ok_or(Refused::Short)?;
        if cookie != pseudowire.peer_cookie.bytes() {
            return Err(Refused::Cookie);
        }
        // None is like one without a number.
        let sublayer = sublayer.try_into().map_or(L2SPEC_DEFAULT, Be32);
        self.sequence.receive(sublayer).map_err(Refused::Sequence)?;
        if frame.len() < Eth::LEN {
            return Err(Refused::Short);
        }
        let mut frame = HostFrame::skb(frame);
        self.clamp(&mut frame);
        if let Some(vlan) = pseudowire.vlan {
            frame.push_tag(vlan).map_err(|_| Refused::Short)?;
        }
        Ok(frame)
    }

    fn clamp(&self, frame: &mut HostFrame) {
        let SlowSession { pseudowire, path_mtu, .. } = &self.session;
        // A SYN cut short within its options is no reason to keep it.
        let _ = mss::clamp(frame, &pseudowire.clamp(*path_mtu), 0);
    }
}
