//! Every way a packet can leave the fast path, the counter it moves, and what becomes of it.

/// What becomes of a packet that was not encapsulated or decapsulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On to the kernel, untouched.
    Pass,
    /// Split into the packets it stands for, which are looked at again one by one.
    Split,
    /// On to the slow path: the kernel's driver, or user space.
    Slow,
    /// Dropped, and counted by its reason.
    Drop,
    /// Dropped half rewritten: it failed after the point of no return.
    Abort,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal => $verdict:ident,)+) => {
        /// Why a packet was not encapsulated or decapsulated. Each is a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Reason { $($(#[doc = $doc])+ $name),+ }

        impl Reason {
            /// All of them, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// What becomes of the packet.
            #[inline(always)]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$name => Verdict::$verdict),+ }
            }

            /// The counter's name.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }

            /// What the counter counts.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+)),+ }
            }
        }
    };
}

reasons! {
    /// Not an L2TP message for one of our tunnels.
    NotOurs = "not_ours" => Pass,
    /// Came in on a port whose sessions take other VLANs.
    NoAttachment = "no_attachment" => Pass,
    /// Left to the TC program behind XDP, which sees tags and checksum state and reaches every device.
    ToTc = "to_tc" => Pass,
    /// The outer IPv4 header has options.
    IpOptions = "ip_options" => Pass,
    /// A fragment of an outer UDP datagram: the kernel reassembles it.
    Fragment = "fragment" => Pass,
    /// A control message (T bit): for the tunnel's socket.
    Control = "control" => Pass,
    /// Not L2TP version 3.
    Version = "version" => Pass,
    /// The lengths in the outer headers contradict each other or the frame.
    Length = "length" => Pass,
    /// No session has this id.
    NoSession = "no_session" => Pass,
    /// The session is known, but not from this address or port.
    Peer = "peer" => Pass,
    /// The message has a sequence number, or may not come without.
    Sequenced = "sequenced" => Pass,
    /// The outer IPv4 or UDP checksum is wrong, or the latter missing where there must be one.
    Checksum = "checksum" => Pass,
    /// A received super-packet, which can't be decapsulated as if it were one frame.
    Gso = "gso" => Split,
    /// The cookie is not the one we require.
    Cookie = "cookie" => Drop,
    /// The frame ends before the headers it needs.
    Short = "short" => Drop,
    /// Too big for the path to the peer.
    TooBig = "too_big" => Slow,
    /// A packet to be sent that has to be split, or its checksum finished, first.
    GsoTx = "gso_tx" => Split,
    /// Received, but too big for the port.
    TooBigRx = "too_big_rx" => Drop,
    /// There is no route to the peer, or its next hop has not answered.
    NoRoute = "no_route" => Slow,
    /// The session's messages carry sequence numbers.
    SequencedTx = "seq_tx" => Slow,
    /// The slow path's queue is full.
    SlowFull = "slow_full" => Drop,
    /// The kernel refused to move the frame's head or tail.
    Room = "room" => Abort,
}
