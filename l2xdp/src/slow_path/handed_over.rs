//! Frames that the programs hand over, in samples of a perf event array: a ring for each CPU.

use super::Shared;
use anyhow::{Context, Result};
use aya::maps::perf::{PerfEvent, PerfEventArrayBuffer};
use aya::maps::{MapData, PerfEventArray};
use aya::util::online_cpus;
use l2xdp_common::frame::Macs;
use l2xdp_common::host::HostFrame;
use l2xdp_common::wire::Be16;
use l2xdp_common::{Frame, SlowFrame};
use log::{debug, warn};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::{JoinSet, yield_now};

/// Pages of each ring: 256 KiB are the frames of a few milliseconds.
const PAGES: usize = 64;

/// So many frames are sent before others have their turn.
const BATCH: usize = 32;

/// Reads all rings, for as long as the tasks are kept.
///
/// # Errors
/// If a ring can't be had.
pub fn read(mut frames: PerfEventArray<MapData>, shared: &Arc<Shared>) -> Result<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    for cpu in online_cpus().map_err(|(file, error)| anyhow::Error::new(error).context(file))? {
        let ring =
            frames.open(cpu, Some(PAGES)).with_context(|| format!("SLOW_PATH: no ring for CPU {cpu}"))?;
        // SAFETY: a ring owns its file descriptor, which stays the same and open as long as the ring lives.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let ring = ring.map_err(io::Error::from)?;
        let shared = Arc::clone(shared);
        tasks.spawn(async move {
            if let Err(error) = drain(ring, &shared).await {
                warn!("slow path, CPU {cpu}: {error}");
            }
        });
    }
    Ok(tasks)
}

async fn drain(mut ring: AsyncFd<PerfEventArrayBuffer<MapData>>, shared: &Shared) -> io::Result<()> {
    loop {
        let mut ready = ring.readable_mut().await?;
        let ring = ready.get_inner_mut();
        let _ = ring.try_fold(1, |count, event| {
            take(event, shared);
            if count < BATCH { ControlFlow::Continue(count + 1) } else { ControlFlow::Break(()) }
        });
        if !ring.readable() {
            ready.clear_ready();
        }
        yield_now().await;
    }
}

fn take(event: PerfEvent<'_>, shared: &Shared) {
    match event {
        PerfEvent::Sample { head, tail } => match parse(&[head, tail].concat()) {
            Some((slot, frame)) => shared.send(slot, frame),
            None => debug!("slow path: a sample of {} bytes is no frame", head.len() + tail.len()),
        },
        PerfEvent::Lost { count } => {
            debug!("slow path: {count} frames to be sent were lost, the ring was full")
        }
    }
}

/// The slot and the frame, its tag put back; `None` if the sample is cut short.
fn parse(sample: &[u8]) -> Option<(u32, HostFrame)> {
    let (header, bytes) = sample.split_at_checked(size_of::<SlowFrame>())?;
    let header: SlowFrame = bytemuck::try_pod_read_unaligned(header).ok()?;
    let mut frame = HostFrame::skb(bytes.get(..header.len as usize)?);
    if header.vlan_proto != Be16::default() {
        frame.push_tag(header.vlan_tci.get()).ok()?;
        *frame.header_mut(size_of::<Macs>()).ok()? = header.vlan_proto;
    }
    Some((header.slot, frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x08, 0x06, 0xca, 0xfe];

    fn sample(len: u32, vlan_proto: [u8; 2], vlan_tci: u16) -> Vec<u8> {
        let header = [7u32.to_ne_bytes(), len.to_ne_bytes()].concat();
        [&header[..], &vlan_proto, &vlan_tci.to_be_bytes(), &FRAME, &[0xee; 4]].concat()
    }

    #[test]
    fn padding_behind_the_frame_is_none_of_it() {
        assert_eq!(parse(&sample(16, [0; 2], 0)), Some((7, HostFrame::skb(&FRAME))));
        assert_eq!(parse(&sample(20, [0; 2], 0)).expect("all of it").1.bytes.len(), 20);
    }

    #[test]
    fn tags_beside_the_frame_are_put_back() {
        for proto in [[0x81, 0x00], [0x88, 0xa8]] {
            let (_, frame) = parse(&sample(16, proto, 0xa064)).expect("a whole sample");
            let tagged = [&FRAME[..12], &proto, &[0xa0, 0x64], &FRAME[12..]].concat();
            assert_eq!(frame.bytes, tagged);
        }
    }

    #[test]
    fn samples_cut_short_are_no_frames() {
        assert_eq!(parse(&sample(21, [0; 2], 0)), None);
        assert_eq!(parse(&sample(16, [0; 2], 0)[..11]), None);
        assert_eq!(parse(&sample(u32::MAX, [0; 2], 0)), None);
        assert_eq!(parse(&sample(4, [0x81, 0], 5)), None, "no MACs to put a tag behind");
    }
}
