//! The bench's own programs, which make frames, send them on, and count them: assembled here, so that they cost a known
//! number of instructions, and neither a compiler nor l2xdp is needed.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::libc;

/// `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

/// A program in the kernel.
pub struct Program(OwnedFd);

/// What the program of [`counter`] has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Seen {
    /// Frames, or super-packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the first one came, in nanoseconds of the monotonic clock.
    pub first: u64,
    /// When the last one came.
    pub last: u64,
}

/// An array of one [`Seen`] in the kernel.
pub struct Count(OwnedFd);

/// XDP that writes `head` over the head of every frame and sends it out of a device.
///
/// A frame of a live test run comes round again with whatever the last round made of its head.
pub fn generator(head: &[u8], ifindex: u32) -> Vec<Instruction> {
    let write = words(head);
    let mut program = checked(head.len(), &[write, send_out_of(ifindex, 0)].concat());
    program.extend([set(0, ABORTED), EXIT]);
    program
}

/// XDP that sends every IPv4 packet out of a device, with these MAC addresses before it, and lets others pass.
pub fn forwarder(macs: &[u8; 12], ifindex: u32) -> Vec<Instruction> {
    let mut forward = vec![load(HALF, 5, 2, 12), unless_equal(5, IPV4, 3 + 4)];
    forward.extend(words(macs));
    forward.extend(send_out_of(ifindex, 0));
    let mut program = checked(14, &forward);
    program.extend([set(0, PASS), EXIT]);
    program
}

/// TC that counts and drops UDP over IPv4, and lets others pass.
pub fn counter(count: &Count) -> Vec<Instruction> {
    let record = [
        copy(7, 0),
        call(KTIME_GET_NS),
        load(DOUBLE, 1, 7, 0),
        unless_equal(1, 0, 1),
        store(DOUBLE, 7, 0, 16),
        store(DOUBLE, 7, 0, 24),
        add(1, 1),
        store(DOUBLE, 7, 1, 0),
        load(WORD, 2, 6, SKB_LEN),
        load(DOUBLE, 1, 7, 8),
        add_register(1, 2),
        store(DOUBLE, 7, 1, 8),
        set(0, TC_SHOT),
        EXIT,
    ];
    let [low, high] = map(1, count);
    let look_up = [
        low,
        high,
        store_value(10, -4, 0),
        copy(2, 10),
        add(2, -4),
        call(MAP_LOOKUP),
        if_equal(0, 0, record.len() as i16),
    ];
    let rest = (look_up.len() + record.len()) as i16;
    let select = [
        copy(6, 1),
        load(WORD, 0, 1, SKB_PROTOCOL),
        unless_equal(0, IPV4, 2 + rest),
        frame_byte(23),
        unless_equal(0, UDP, rest),
    ];
    [&select[..], &look_up, &record, &[set(0, TC_UNSPEC), EXIT]].concat()
}

/// TC that hands everything to a device: as if it had come in there, or to be sent from there.
pub fn redirect(ifindex: u32, ingress: bool) -> Vec<Instruction> {
    send_out_of(ifindex, ingress.into())
}

/// What a program is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TC.
    Tc = 3,
    /// XDP.
    Xdp = 6,
}

impl Program {
    /// Loads one.
    pub fn load(kind: Kind, program: &[Instruction]) -> Result<Self> {
        #[derive(Default)]
        #[repr(C)]
        struct Attributes {
            kind: u32,
            count: u32,
            instructions: u64,
            license: u64,
            rest: [u64; 5],
        }
        let attributes = Attributes {
            kind: kind as u32,
            count: program.len() as u32,
            instructions: program.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            rest: [0; 5],
        };
        Ok(Self(open(PROG_LOAD, attributes).context("cannot load a program of the bench")?))
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
        call_bpf(OBJ_PIN, attributes).with_context(|| format!("cannot pin {}", path.display()))?;
        Ok(())
    }

    /// Runs it on so many copies of a frame, and does what it says with them, in the namespace of this thread.
    pub fn run_live(&self, frame: &[u8], copies: u32) -> Result<()> {
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
            ..Attributes::default()
        };
        call_bpf(PROG_TEST_RUN, attributes).context("cannot generate frames (Linux 5.18 or newer can)")?;
        Ok(())
    }
}

impl Count {
    /// A new one.
    pub fn new() -> Result<Self> {
        const ARRAY: u32 = 2;
        let attributes = [ARRAY, 4, size_of::<Seen>() as u32, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        Ok(Self(open(MAP_CREATE, attributes).context("cannot make the bench's map")?))
    }

    /// What was seen since the last reset.
    pub fn look(&self) -> Result<Seen> {
        let mut seen = Seen::default();
        self.element(MAP_LOOKUP_ELEM, &mut seen)?;
        Ok(seen)
    }

    /// Begins anew.
    pub fn reset(&self) -> Result<()> {
        self.element(MAP_UPDATE_ELEM, &mut Seen::default())
    }

    fn element(&self, command: i32, value: &mut Seen) -> Result<()> {
        #[repr(C)]
        struct Attributes {
            map: u64,
            key: u64,
            value: u64,
            flags: u64,
        }
        let key = 0_u32;
        let (key, value) = (std::ptr::from_ref(&key) as u64, std::ptr::from_mut(value) as u64);
        call_bpf(command, Attributes { map: self.0.as_raw_fd() as u64, key, value, flags: 0 })
            .context("cannot read the bench's map")?;
        Ok(())
    }
}

// Commands of bpf(2).
const MAP_CREATE: i32 = 0;
const MAP_LOOKUP_ELEM: i32 = 1;
const MAP_UPDATE_ELEM: i32 = 2;
const PROG_LOAD: i32 = 5;
const OBJ_PIN: i32 = 6;
const PROG_TEST_RUN: i32 = 10;
const LIVE_FRAMES: u32 = 1 << 1;

// Helpers.
const MAP_LOOKUP: i32 = 1;
const KTIME_GET_NS: i32 = 5;
const REDIRECT: i32 = 23;

// Verdicts.
const ABORTED: i32 = 0;
const PASS: i32 = 2;
const TC_SHOT: i32 = 2;
const TC_UNSPEC: i32 = -1;

// In `struct __sk_buff`.
const SKB_LEN: i16 = 0;
const SKB_PROTOCOL: i16 = 16;

/// ETH_P_IP, as it is read from a frame.
const IPV4: i32 = 0x0800_u16.to_be() as i32;
const UDP: i32 = 17;

const WORD: u8 = 0x00;
const HALF: u8 = 0x08;
const DOUBLE: u8 = 0x18;
const EXIT: Instruction = Instruction { code: 0x95, registers: 0, offset: 0, value: 0 };

/// The body, in an XDP program, run where the frame has so many bytes; r2 is its begin. What follows is run otherwise.
fn checked(bytes: usize, body: &[Instruction]) -> Vec<Instruction> {
    let past_end = Instruction { code: 0x2d, registers: 3 << 4 | 4, offset: body.len() as i16, value: 0 };
    let check = [load(WORD, 2, 1, 0), load(WORD, 3, 1, 4), copy(4, 2), add(4, bytes as i32), past_end];
    [&check[..], body].concat()
}

/// Writes bytes to r2, four at a time.
fn words(bytes: &[u8]) -> Vec<Instruction> {
    let word = |(index, word): (usize, &[u8])| {
        let value = i32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        store_value(2, 4 * index as i16, value)
    };
    bytes.chunks_exact(4).enumerate().map(word).collect()
}

fn send_out_of(ifindex: u32, flags: i32) -> Vec<Instruction> {
    vec![set(1, ifindex.cast_signed()), set(2, flags), call(REDIRECT), EXIT]
}

const fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, value }
}

const fn set(register: u8, value: i32) -> Instruction {
    instruction(0xb7, register, 0, 0, value)
}

const fn copy(to: u8, from: u8) -> Instruction {
    instruction(0xbf, to, from, 0, 0)
}

const fn add(register: u8, value: i32) -> Instruction {
    instruction(0x07, register, 0, 0, value)
}

const fn add_register(to: u8, from: u8) -> Instruction {
    instruction(0x0f, to, from, 0, 0)
}

const fn load(size: u8, to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x61 | size, to, from, offset, 0)
}

const fn store(size: u8, to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x63 | size, to, from, offset, 0)
}

const fn store_value(to: u8, offset: i16, value: i32) -> Instruction {
    instruction(0x62, to, 0, offset, value)
}

/// A byte of the packet whose socket buffer is r6, to r0.
const fn frame_byte(offset: i32) -> Instruction {
    instruction(0x30, 0, 0, 0, offset)
}

const fn if_equal(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x15, register, 0, skip, value)
}

const fn unless_equal(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x55, register, 0, skip, value)
}

const fn call(helper: i32) -> Instruction {
    instruction(0x85, 0, 0, 0, helper)
}

/// A map's address, in two instructions.
fn map(register: u8, count: &Count) -> [Instruction; 2] {
    const MAP_FD: u8 = 1;
    [instruction(0x18, register, MAP_FD, 0, count.0.as_raw_fd()), instruction(0, 0, 0, 0, 0)]
}

fn open<T>(command: i32, attributes: T) -> io::Result<OwnedFd> {
    let fd = call_bpf(command, attributes)?;
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call_bpf<T>(command: i32, mut attributes: T) -> io::Result<i32> {
    // SAFETY: the attributes have the length given, and what they point to outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(&mut attributes), size_of::<T>() as u32)
    };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_in_words_before_the_frame_is_sent() {
        let program = generator(&[1, 0, 0, 0, 2, 0, 0, 0], 7);
        assert_eq!(program[5..7], [store_value(2, 0, 1), store_value(2, 4, 2)]);
        assert_eq!(program[7..], [set(1, 7), set(2, 0), call(REDIRECT), EXIT, set(0, ABORTED), EXIT]);
        // A frame too short for it jumps to the abort.
        assert_eq!(program[4].offset, 6);
    }

    #[test]
    fn a_forwarder_passes_what_is_not_ipv4() {
        let program = forwarder(&[0; 12], 7);
        let jump = 6;
        assert_eq!(program[jump], unless_equal(5, IPV4, 7));
        assert_eq!(program[jump + 1 + 7..], [set(0, PASS), EXIT]);
    }
}
