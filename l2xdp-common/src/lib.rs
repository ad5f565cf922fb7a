//! All packet logic of l2xdp, and the types its programs and its loader share.
//!
//! The code here never names a BPF context: it reads and writes packets through [`Frame`], so the very same
//! functions run in XDP, in TC, in unit and property tests, and in fuzz targets. It reads in the order a packet
//! travels: [`encap`] and [`decap`] at the top, the headers they build and parse in [`wire`], the decisions for
//! every way they can end in [`reason`].
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

pub mod checksum;
pub mod counters;
pub mod decap;
pub mod encap;
pub mod frame;
#[cfg(feature = "std")]
pub mod host;
pub mod inner;
pub mod mss;
pub mod pseudowire;
pub mod reason;
pub mod session;
pub mod udp_checksum;
pub mod wire;

pub use decap::Sessions;
pub use encap::Attachments;
pub use frame::Frame;
pub use reason::{Reason, Verdict};
pub use session::{AttachKey, Delivery, RxRow, RxSession, SlowFrame, TxRow, TxSession};
