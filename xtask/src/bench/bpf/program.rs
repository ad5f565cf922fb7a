//! Programs in the kernel: loaded, attached, named and run.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::assembler::Instruction;
use super::syscall::{call, open};

/// A program in the kernel.
pub struct Program(OwnedFd);

/// A program at a device; it is detached with this.
pub struct Link(#[expect(dead_code, reason = "it is closed with this")] OwnedFd);

/// What a program is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TC.
    Tc = 3,
    /// XDP.
    Xdp = 6,
}

// Commands of bpf(2).
const LOAD: i32 = 5;
const PIN: i32 = 6;
const TEST_RUN: i32 = 10;
const LINK: i32 = 28;

const LIVE_FRAMES: u32 = 1 << 1;

impl Program {
    /// Loads one.
    pub fn load(kind: Kind, program: &[Instruction]) -> Result<Self> {
        Self::load_named(kind, program, "bench")
    }

    /// Loads one, with a name of at most 15 bytes.
    pub fn load_named(kind: Kind, program: &[Instruction], name: &str) -> Result<Self> {
        #[derive(Default)]
        #[repr(C)]
        struct Attributes {
            kind: u32,
            count: u32,
            instructions: u64,
            license: u64,
            log: [u64; 2],
            kernel_and_flags: [u32; 2],
            name: [u8; 16],
        }
        let mut bytes = [0; 16];
        bytes.iter_mut().take(15).zip(name.as_bytes()).for_each(|(byte, letter)| *byte = *letter);
        let attributes = Attributes {
            kind: kind as u32,
            count: program.len() as u32,
            instructions: program.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            name: bytes,
            ..Attributes::default()
        };
        Ok(Self(open(LOAD, attributes).context("cannot load a program of the bench's")?))
    }

    /// Has a device of this thread's namespace run it, as XDP in the driver.
    pub fn attach_xdp(&self, ifindex: u32) -> Result<Link> {
        const XDP: u32 = 37;
        const DRIVER: u32 = 1 << 2;
        let attributes = [self.0.as_raw_fd().cast_unsigned(), ifindex, XDP, DRIVER];
        Ok(Link(open(LINK, attributes).context("cannot attach a program of the bench's")?))
    }

    /// Names it in bpffs, for `ip` and `tc` to find.
    pub fn pin(&self, path: &Path) -> Result<()> {
        #[repr(C)]
        struct Attributes {
            path: u64,
            program: u32,
            flags: u32,
        }
        let name = CString::new(path.as_os_str().as_bytes())?;
        let attributes =
            Attributes { path: name.as_ptr() as u64, program: self.0.as_raw_fd() as u32, flags: 0 };
        call(PIN, attributes).with_context(|| format!("cannot pin {}", path.display()))?;
        Ok(())
    }

    /// Runs it on so many copies of a frame, and does what it says with them, in the namespace of this thread.
    pub fn run_live(&self, frame: &[u8], copies: u32) -> Result<()> {
        self.run_live_in(frame, copies, super::BATCH)
    }

    /// The same, in batches of so many.
    pub fn run_live_in(&self, frame: &[u8], copies: u32, batch: u32) -> Result<()> {
        #[derive(Default)]
        #[repr(C)]
        struct Attributes {
            program: u32,
            returned: u32,
            length: u32,
            length_out: u32,
            data: u64,
            data_out: u64,
            repeat: u32,
            duration: u32,
            context: [u64; 3],
            flags: u32,
            cpu: u32,
            batch: u32,
            padding: u32,
        }
        let attributes = Attributes {
            program: self.0.as_raw_fd() as u32,
            length: frame.len() as u32,
            data: frame.as_ptr() as u64,
            repeat: copies,
            flags: LIVE_FRAMES,
            batch,
            ..Attributes::default()
        };
        call(TEST_RUN, attributes).context("cannot generate frames (Linux 5.18 or newer can)")?;
        Ok(())
    }
}
