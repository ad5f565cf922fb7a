//! `l2xdp run --trace`: the log of the eBPF programs, with names for their numbers.

use crate::sys;
use anyhow::{Context, Result};
use aya::Ebpf;
use aya_log::EbpfLogger;
use l2xdp_common::Reason;
use log::{Log, Metadata, Record, info};
use std::time::Duration;
use tokio::time::interval;

/// How often the log is read.
const LOOK: Duration = Duration::from_millis(100);

/// Logs every packet that leaves the fast path, from now on.
///
/// # Errors
/// If the programs' log can't be read.
pub fn start(ebpf: &mut Ebpf) -> Result<()> {
    let mut logger =
        EbpfLogger::init_with_logger(ebpf, Names).context("can't read the log of the eBPF programs")?;
    tokio::spawn(async move {
        let mut look = interval(LOOK);
        loop {
            look.tick().await;
            logger.flush();
        }
    });
    Ok(())
}

/// Takes the programs' records, which are numbers: the device, and the [`Reason`].
struct Names;

impl Log for Names {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let numbers = record.args().to_string();
        let mut numbers = numbers.split(' ').filter_map(|number| number.parse::<u32>().ok());
        if let (Some(ifindex), Some(reason)) = (numbers.next(), numbers.next())
            && let Some(reason) = Reason::ALL.get(reason as usize)
        {
            info!("{}: {}:{}", sys::interface_name(ifindex), reason.label(), reason.help());
        }
    }

    fn flush(&self) {}
}
