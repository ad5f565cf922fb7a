//! What must hold for every frame and every session. Run by `cargo test` for about a second each, and by
//! `cargo bolero test -p l2xdp-common --test properties NAME` as long as one likes, guided by coverage.
//!
//! Expected bytes come from [`oracle`], which knows the RFCs and not our code.

mod changed_bits;
mod clamp;
mod frames;
mod options;
mod oracle;
mod round_trip;
mod wild;

use std::time::Duration;

/// For each property under `cargo test`.
const TIME: Duration = Duration::from_secs(1);
