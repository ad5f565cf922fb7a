//! Small programs of other people's, attached to a device for as long as a test wants them: assembled here, so that
//! neither a compiler nor l2xdp is needed.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use nix::libc;
use nix::net::if_::if_nametoindex;

use crate::netns::Namespace;

/// An attached program; it goes with this.
#[derive(Debug)]
pub struct Attached {
    _program: OwnedFd,
    _link: OwnedFd,
}

/// A device's hook.
#[derive(Clone, Copy, Debug)]
pub enum Hook {
    /// XDP in the driver.
    Xdp,
    /// TC on the way in.
    Ingress,
}

/// `struct bpf_insn`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

/// XDP that lets everything pass.
pub const PASS_ALL: &[Instruction] = &[set(0, 2), EXIT];

/// Puts an 802.1Q tag beside the bytes, as a VLAN device does, and sends the packet out of a device.
pub fn tag_and_send(vlan: u16, ifindex: u32) -> Vec<Instruction> {
    let tpid = i32::from(0x8100_u16.to_be());
    let send = [set(1, ifindex.cast_signed()), set(2, 0), call(REDIRECT), EXIT];
    [set(2, tpid), set(3, vlan.into()), call(VLAN_PUSH)].into_iter().chain(send).collect()
}

/// Takes this VLAN's tag off and sends the packet out of a device; lets others pass.
pub fn untag_and_send(vlan: u16, ifindex: u32) -> Vec<Instruction> {
    let pop = [call(VLAN_POP), set(1, ifindex.cast_signed()), set(2, 0), call(REDIRECT), EXIT];
    let head = [load_word(2, 1, VLAN_TCI), and(2, 0xfff), unless_equal(2, vlan.into(), pop.len() as i16)];
    head.into_iter().chain(pop).chain([set(0, NEXT), EXIT]).collect()
}

/// Attaches a program to a device of a namespace.
pub fn attach(namespace: &Namespace, device: &str, hook: Hook, program: &[Instruction]) -> Result<Attached> {
    let attach = || {
        let program = load(hook, program).context("cannot load the program")?;
        let link = link(&program, if_nametoindex(device)?, hook).context("cannot attach it")?;
        Ok(Attached { _program: program, _link: link })
    };
    namespace.enter(attach).with_context(|| format!("a program for {device} in {}", namespace.name()))
}

/// The index of a device of a namespace.
pub fn index(namespace: &Namespace, device: &str) -> Result<u32> {
    namespace.enter(|| if_nametoindex(device).with_context(|| format!("no {device}")))
}

/// The ids of the programs that TCX runs on a device, both ways; none where the kernel has no TCX.
pub fn attached_by_tcx(namespace: &Namespace, device: &str) -> Result<Vec<u32>> {
    namespace.enter(|| {
        let ifindex = if_nametoindex(device)?;
        let ways = [TCX_INGRESS, TCX_EGRESS];
        Ok(ways.into_iter().flat_map(|way| query_tcx(ifindex, way).unwrap_or_default()).collect())
    })
}

/// Whether the kernel has TCX (Linux 6.6).
pub fn has_tcx(namespace: &Namespace) -> Result<bool> {
    namespace.enter(|| Ok(query_tcx(if_nametoindex("lo")?, TCX_INGRESS).is_ok()))
}

fn query_tcx(ifindex: u32, kind: u32) -> io::Result<Vec<u32>> {
    const COMMAND: i32 = 16;
    let mut ids = [0_u32; 64];
    let (programs, count) = (ids.as_mut_ptr() as u64, ids.len() as u32);
    let mut query = Query { ifindex, kind, flags: [0; 2], programs, count, ..Query::default() };
    system_call(COMMAND, &mut query)?;
    Ok(ids.into_iter().take(query.count as usize).collect())
}

const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;
const VLAN_PUSH: i32 = 18;
const VLAN_POP: i32 = 19;
const REDIRECT: i32 = 23;
/// In `struct __sk_buff`.
const VLAN_TCI: i16 = 24;
/// `TCX_NEXT`.
const NEXT: i32 = -1;
const EXIT: Instruction = Instruction { code: 0x95, registers: 0, offset: 0, value: 0 };

const fn set(register: u8, value: i32) -> Instruction {
    Instruction { code: 0xb7, registers: register, offset: 0, value }
}

const fn and(register: u8, value: i32) -> Instruction {
    Instruction { code: 0x57, registers: register, offset: 0, value }
}

const fn load_word(register: u8, from: u8, offset: i16) -> Instruction {
    Instruction { code: 0x61, registers: from << 4 | register, offset, value: 0 }
}

const fn unless_equal(register: u8, value: i32, offset: i16) -> Instruction {
    Instruction { code: 0x55, registers: register, offset, value }
}

const fn call(helper: i32) -> Instruction {
    Instruction { code: 0x85, registers: 0, offset: 0, value: helper }
}

/// `union bpf_attr` of `BPF_PROG_LOAD`, as far as it is needed.
#[derive(Default)]
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u64; 2],
    kernel: u32,
    flags: u32,
    name: [u8; 16],
}

/// `union bpf_attr` of `BPF_LINK_CREATE`, as far as it is needed.
#[repr(C)]
struct Link {
    program: i32,
    ifindex: u32,
    kind: u32,
    flags: u32,
}

/// `union bpf_attr` of `BPF_PROG_QUERY`.
#[derive(Default)]
#[repr(C)]
struct Query {
    ifindex: u32,
    kind: u32,
    flags: [u32; 2],
    programs: u64,
    count: u32,
    padding: u32,
    flags_and_links: [u64; 4],
}

fn load(hook: Hook, program: &[Instruction]) -> io::Result<OwnedFd> {
    const COMMAND: i32 = 5;
    let kind = match hook {
        Hook::Xdp => 6,
        Hook::Ingress => 3,
    };
    let mut name = [0; 16];
    name[..8].copy_from_slice(b"occupant");
    let attributes = Load {
        kind,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        name,
        ..Load::default()
    };
    bpf(COMMAND, attributes)
}

fn link(program: &OwnedFd, ifindex: u32, hook: Hook) -> io::Result<OwnedFd> {
    const COMMAND: i32 = 28;
    const DRIVER: u32 = 1 << 2;
    let (kind, flags) = match hook {
        Hook::Xdp => (37, DRIVER),
        Hook::Ingress => (TCX_INGRESS, 0),
    };
    bpf(COMMAND, Link { program: program.as_raw_fd(), ifindex, kind, flags })
}

fn bpf<T>(command: i32, mut attributes: T) -> io::Result<OwnedFd> {
    let fd = system_call(command, &mut attributes)?;
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn system_call<T>(command: i32, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the attributes have the length given, and what they point to outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>() as u32)
    };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}
