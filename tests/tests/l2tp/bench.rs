//! What the tests share: the oracle, and the candidate whose turn it is.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use l2xdp_tests::{interrupt, topology};
use libtest_mimic::{Failed, Trial};

use crate::arm::{Arm, PREFIX};
use crate::carrier::Carrier;

/// The two arms.
pub struct Bench {
    pub oracle: Arm,
    pub candidate: Arm,
}

static BENCH: Mutex<Option<Bench>> = Mutex::new(None);

/// A test of a candidate against the oracle. Both stay up for the next, unless it failed.
pub fn trial(
    name: String,
    candidate: Carrier,
    test: impl FnOnce(&Bench) -> Result<()> + Send + 'static,
) -> Trial {
    Trial::test(name, move || {
        let mut bench = BENCH.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = ready(&mut bench, candidate);
        let result = ready.and_then(|()| test(bench.as_ref().context("it was just built")?));
        if result.is_err() {
            *bench = None;
        }
        result.map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// Takes everything down.
pub fn take_down() {
    *BENCH.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

fn ready(bench: &mut Option<Bench>, candidate: Carrier) -> Result<()> {
    interrupt::check()?;
    match bench.take() {
        Some(ready) if ready.candidate.running.carrier() == candidate => {
            *bench = Some(ready);
            return Ok(());
        }
        // The oracle is built anew as well: its sessions know the numbers of the messages they got.
        Some(Bench { candidate, .. }) => candidate.take_down()?,
        None => topology::remove_leftovers(PREFIX)?,
    }
    *bench = Some(Bench { oracle: Arm::build(Carrier::Driver)?, candidate: Arm::build(candidate)? });
    Ok(())
}
