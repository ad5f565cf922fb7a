//! Capture files as tcpdump writes them on this machine.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::frames::Named;

const MAGIC: u32 = 0xa1b2_c3d4;
const FILE_HEADER: usize = 24;
const FRAME_HEADER: usize = 16;
const ETHERNET: u32 = 1;

/// Writes frames.
pub fn write(file: &Path, frames: &[Named]) -> Result<()> {
    let mut bytes = Vec::new();
    let mut put = |words: &[u32]| bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    // Version 2.4 in two halves, from the lower one on.
    put(&[MAGIC, 4 << 16 | 2, 0, 0, 1 << 16, ETHERNET]);
    for (second, frame) in (0..).zip(frames) {
        let len = frame.bytes.len() as u32;
        bytes.extend([second, 0, len, len].into_iter().flat_map(u32::to_ne_bytes));
        bytes.extend(&frame.bytes);
    }
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

/// Reads frames.
pub fn read(file: &Path) -> Result<Vec<Named>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let word =
        |at: usize| bytes.get(at..at + 4).and_then(|word| Some(u32::from_ne_bytes(word.try_into().ok()?)));
    ensure!(word(0) == Some(MAGIC), "{} is no capture file", file.display());
    let mut frames = Vec::new();
    let mut at = FILE_HEADER;
    while at < bytes.len() {
        let len = word(at + 8).context("a frame's header is cut short")? as usize;
        at += FRAME_HEADER;
        let frame = bytes.get(at..at + len).context("a frame is cut short")?;
        frames.push(Named { name: format!("frame {}", frames.len() + 1), bytes: frame.to_vec() });
        at += len;
    }
    Ok(frames)
}
