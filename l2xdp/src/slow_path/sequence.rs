//! Sequence numbers (RFC 3931 §4.6.1), as the kernel's driver counts them in a session without a reorder timeout
//! that is not the LNS's (`l2tp_core.c`).

use l2xdp_common::pseudowire::Seq;
use l2xdp_common::wire::{Be32, L2SPEC_DEFAULT, SEQUENCE_MASK, l2spec_sequenced, sequence_number};

/// How far ahead of the expected number one may be (`nr_window_size`).
const WINDOW: u32 = SEQUENCE_MASK / 2;

/// More steps than this in a row past a gap, and the sequence goes on from there (`nr_oos_count_max`).
const MAX_STEPS: u32 = 4;

/// Why a message is dropped for its number, or for having none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfSequence {
    /// It has none and needs one, or is not the one expected: `rx_seq_discards`.
    Discard,
    /// It is so far off that the kernel counts no more than an error.
    OutsideWindow,
}

/// Both directions of a session, in the words of `struct l2tp_session`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The configuration that this began with.
    configured: Seq,
    /// Numbers are sent now. The peer decides: see [`receive`](Self::receive).
    send: bool,
    /// The number to be sent next.
    ns: u32,
    /// The number expected next.
    nr: u32,
    /// The last number out of sequence, and how many came before it without a gap.
    oos: u32,
    oos_steps: u32,
    /// The next number is taken whatever it is: it is the first, or the peer has gone on without us.
    resync: bool,
}

impl Sequence {
    /// A session that has neither sent nor received.
    pub const fn new(configured: Seq) -> Self {
        Self { configured, send: configured.send, ns: 0, nr: 0, oos: 0, oos_steps: 0, resync: true }
    }

    /// The configuration that this began with.
    pub const fn configured(&self) -> Seq {
        self.configured
    }

    /// Are numbers sent now?
    pub const fn is_sending(&self) -> bool {
        self.send
    }

    /// The default sublayer of the next message to be sent (`l2tp_build_l2tpv3_header`).
    pub const fn send(&mut self) -> Be32 {
        if !self.send {
            return L2SPEC_DEFAULT;
        }
        let sublayer = l2spec_sequenced(self.ns);
        self.ns = step(self.ns);
        sublayer
    }

    /// Looks at the default sublayer of a message (`l2tp_recv_common`). A number switches on that we send them, a message
    /// without one switches it off.
    ///
    /// # Errors
    /// If the message is to be dropped.
    pub fn receive(&mut self, sublayer: Be32) -> Result<(), OutOfSequence> {
        if let Some(ns) = sequence_number(sublayer) {
            self.send = true;
            return self.follow(ns);
        }
        if self.configured.recv {
            return Err(OutOfSequence::Discard);
        }
        self.send = false;
        Ok(())
    }

    /// `l2tp_recv_data_seq` and `l2tp_recv_dequeue`: what is not the next number is dropped, until the numbers that are
    /// dropped have themselves been in sequence for a while.
    const fn follow(&mut self, ns: u32) -> Result<(), OutOfSequence> {
        if ns.wrapping_sub(self.nr) & SEQUENCE_MASK >= WINDOW {
            return Err(OutOfSequence::OutsideWindow);
        }
        if ns != self.nr {
            self.oos_steps = if ns == step(self.oos) { self.oos_steps + 1 } else { 0 };
            self.oos = ns;
            self.resync |= self.oos_steps > MAX_STEPS;
            if !self.resync {
                return Err(OutOfSequence::Discard);
            }
        }
        self.resync = false;
        self.nr = step(ns);
        Ok(())
    }
}

const fn step(number: u32) -> u32 {
    number.wrapping_add(1) & SEQUENCE_MASK
}

#[cfg(test)]
mod tests {
    use super::OutOfSequence::{Discard, OutsideWindow};
    use super::*;

    const OFF: Seq = Seq { send: false, recv: false };
    const BOTH: Seq = Seq { send: true, recv: true };

    /// What becomes of these numbers, one after the other.
    fn received(sequence: &mut Sequence, numbers: &[u32]) -> Vec<Result<(), OutOfSequence>> {
        numbers.iter().map(|&ns| sequence.receive(l2spec_sequenced(ns))).collect()
    }

    #[test]
    fn numbers_sent_begin_with_0_and_have_24_bits() {
        let mut sequence = Sequence::new(BOTH);
        assert_eq!([sequence.send().0, sequence.send().0], [[0x40, 0, 0, 0], [0x40, 0, 0, 1]]);
        sequence.ns = 0xff_ffff;
        assert_eq!([sequence.send().0, sequence.send().0], [[0x40, 0xff, 0xff, 0xff], [0x40, 0, 0, 0]]);
        assert_eq!(Sequence::new(OFF).send().0, [0; 4]);
    }

    #[test]
    fn the_first_number_is_taken_as_it_is() {
        let mut sequence = Sequence::new(BOTH);
        assert_eq!(
            received(&mut sequence, &[77, 78, 78, 77]),
            [Ok(()), Ok(()), Err(OutsideWindow), Err(OutsideWindow)]
        );
    }

    #[test]
    fn past_a_gap_five_steps_in_a_row_are_dropped_first() {
        let mut sequence = Sequence::new(BOTH);
        assert_eq!(received(&mut sequence, &[0, 1]), [Ok(()); 2]);
        assert_eq!(received(&mut sequence, &[5, 6, 7, 8, 9]), [Err(Discard); 5]);
        assert_eq!(received(&mut sequence, &[10, 11]), [Ok(()); 2]);
    }

    #[test]
    fn a_gap_that_is_filled_needs_no_patience() {
        let mut sequence = Sequence::new(BOTH);
        assert_eq!(received(&mut sequence, &[0, 2, 1, 2]), [Ok(()), Err(Discard), Ok(()), Ok(())]);
    }

    #[test]
    fn numbers_received_wrap_around() {
        let mut sequence = Sequence::new(BOTH);
        sequence.nr = 0xff_fffe;
        sequence.resync = false;
        assert_eq!(received(&mut sequence, &[0xff_fffe, 0xff_ffff, 0, 1]), [Ok(()); 4]);
    }

    #[test]
    fn half_of_all_numbers_are_ahead() {
        for (ns, expected) in [(WINDOW - 1, Ok(())), (WINDOW, Err(OutsideWindow))] {
            assert_eq!(received(&mut Sequence::new(BOTH), &[ns]), [expected], "{ns}");
        }
    }

    #[test]
    fn required_numbers_must_be_there() {
        let mut sequence = Sequence::new(BOTH);
        assert_eq!(sequence.receive(L2SPEC_DEFAULT), Err(Discard));
        assert_eq!(sequence.send().0[0], 0x40, "what is dropped switches nothing");
    }

    #[test]
    fn the_peer_switches_our_numbers() {
        let mut sequence = Sequence::new(OFF);
        assert!(!sequence.is_sending());
        assert_eq!(sequence.receive(l2spec_sequenced(0)), Ok(()));
        assert!(sequence.is_sending());
        assert_eq!([sequence.send().0, sequence.send().0], [[0x40, 0, 0, 0], [0x40, 0, 0, 1]]);
        assert_eq!(sequence.receive(L2SPEC_DEFAULT), Ok(()));
        assert_eq!(sequence.send().0, [0; 4]);
        assert_eq!(received(&mut sequence, &[1]), [Ok(())]);
        assert_eq!(sequence.send().0, [0x40, 0, 0, 2], "they go on where they were");
    }
}
