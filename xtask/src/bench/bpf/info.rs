//! What the kernel knows of programs.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::syscall::{call, open};

/// The kernel takes the time of all programs as long as there is one of these.
pub struct Statistics(#[expect(dead_code, reason = "it is closed with this")] OwnedFd);

/// `struct bpf_prog_info`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Info {
    kind_and_id: [u32; 2],
    tag: u64,
    /// Bytes of machine code.
    pub jited: u32,
    /// Bytes of BPF, as the verifier left it.
    pub translated: u32,
    code: [u64; 2],
    loaded: u64,
    user: u32,
    maps: u32,
    map_ids: u64,
    name: [u8; 16],
    device: [u32; 2],
    namespace: [u64; 2],
    symbols: [u32; 2],
    details: [u64; 10],
    /// Nanoseconds at work while there were [`Statistics`].
    pub time: u64,
    /// How often it ran then.
    pub runs: u64,
    misses: u64,
    /// Instructions that the verifier looked at, over and over again.
    pub verified: u32,
    attached: [u32; 2],
    end: u32,
}

// Commands of bpf(2).
const GET_BY_ID: i32 = 13;
const GET_INFO: i32 = 15;
const ENABLE_STATISTICS: i32 = 32;

impl Statistics {
    /// From now on.
    pub fn enable() -> Result<Self> {
        const RUN_TIME: u32 = 0;
        Ok(Self(open(ENABLE_STATISTICS, RUN_TIME).context("cannot have the kernel time programs")?))
    }
}

impl Info {
    /// Its name: the first 15 bytes.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.name).trim_end_matches('\0').to_owned()
    }
}

/// All programs that a process has, or has attached.
pub fn programs_of(process: u32) -> Result<Vec<Info>> {
    let dir = PathBuf::from(format!("/proc/{process}/fdinfo"));
    let files = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let infos = files.flatten().filter_map(|file| fs::read_to_string(file.path()).ok());
    let ids: BTreeSet<_> = infos.filter_map(|info| program_id(&info)).collect();
    ids.into_iter().map(info).collect()
}

fn program_id(info: &str) -> Option<u32> {
    info.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
}

fn info(id: u32) -> Result<Info> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        length: u32,
        info: u64,
    }
    let context = || format!("cannot look at program {id}");
    let program = open(GET_BY_ID, [id, 0, 0]).with_context(context)?;
    let mut info = Info::default();
    let length = size_of::<Info>() as u32;
    let at = std::ptr::from_mut(&mut info) as u64;
    let attributes = Attributes { program: program.as_raw_fd().cast_unsigned(), length, info: at };
    call(GET_INFO, attributes).with_context(context)?;
    Ok(info)
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn a_program_is_described_as_the_kernel_has_it() {
        let places = [offset_of!(Info, jited), offset_of!(Info, name), offset_of!(Info, time)];
        assert_eq!((places, offset_of!(Info, verified), size_of::<Info>()), ([16, 64, 192], 216, 232));
    }

    #[test]
    fn links_and_programs_tell_an_id() {
        assert_eq!(program_id("pos:\t0\nprog_type:\t6\nprog_id:\t42\n"), Some(42));
        assert_eq!(program_id("pos:\t0\nmap_id:\t42\n"), None);
    }
}
