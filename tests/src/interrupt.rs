//! Ctrl-C: what is under way ends with an error, so that everything is taken down in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT, SIGTERM and SIGHUP interrupt what is under way, not the process.
pub fn catch() -> Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)).context("cannot catch signals")
}

/// Whether one of those signals came.
pub fn came() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// An error, if one of those signals came.
pub fn check() -> Result<()> {
    ensure!(!came(), "interrupted");
    Ok(())
}

/// Looks until there is something, the time is up, or a signal comes.
pub fn poll<T>(limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        check()?;
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(3));
    }
}
