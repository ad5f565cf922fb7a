//! The few system calls that no crate here wraps.

use anyhow::{Context, Result};
use std::fs::File;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// `linux/ethtool.h`.
const ETHTOOL_GTXCSUM: u32 = 0x0000_0016;
const ETHTOOL_STXCSUM: u32 = 0x0000_0017;
const ETHTOOL_GFLAGS: u32 = 0x0000_0025;
const ETHTOOL_SGRO: u32 = 0x0000_002c;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

fn socket(domain: i32, kind: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes and returns integers.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until every eBPF program that runs now has ended. False if the kernel can't say when that is.
pub fn wait_for_programs() -> bool {
    /// `linux/membarrier.h`: returns after a grace period of RCU, which programs hold up.
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: takes and returns integers.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0 }
}

/// Moves this thread to a new, empty network namespace, which goes with it.
///
/// # Errors
/// `EPERM`.
pub fn enter_new_netns() -> io::Result<()> {
    // SAFETY: takes and returns integers.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Moves this thread to a network namespace of `ip netns`.
///
/// # Errors
/// There is none of this name, or `EPERM`.
pub fn enter_netns(name: &str) -> Result<()> {
    let path = Path::new("/run/netns").join(name);
    let file = File::open(&path)
        .with_context(|| format!("--netns {name}: there is no such network namespace; see ip netns list"))?;
    // SAFETY: takes and returns integers; the descriptor is open.
    if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("--netns {name}: can't enter it"));
    }
    Ok(())
}

/// The name of a device, or its index where it is gone.
pub fn interface_name(ifindex: u32) -> String {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the length the function asks for.
    let found = unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr()) };
    if found.is_null() {
        return format!("interface {ifindex}");
    }
    name.iter().take_while(|&&byte| byte != 0).map(|&byte| char::from(byte as u8)).collect()
}

/// Turns generic receive offload of a device on (`ethtool -K NAME gro on`).
///
/// # Errors
/// `ENODEV`, `EPERM`, `EOPNOTSUPP`; `EINVAL` for a name that is too long.
pub fn enable_gro(name: &str) -> io::Result<()> {
    ethtool(name, ETHTOOL_SGRO, 1).map(drop)
}

/// Has checksums finished before frames reach a device (`ethtool -K NAME tx off`).
///
/// # Errors
/// As [`enable_gro`].
pub fn disable_tx_checksum(name: &str) -> io::Result<()> {
    ethtool(name, ETHTOOL_STXCSUM, 0).map(drop)
}

/// Does a device finish checksums itself, or claim to (`ethtool -k NAME`, `tx-checksumming`)?
///
/// # Errors
/// As [`enable_gro`].
pub fn has_tx_checksum(name: &str) -> io::Result<bool> {
    Ok(ethtool(name, ETHTOOL_GTXCSUM, 0)? != 0)
}

/// Does a device hand VLAN tags over beside the frame (`ethtool -k NAME`, `rx-vlan-offload`)?
///
/// # Errors
/// As [`enable_gro`].
pub fn has_rx_vlan_offload(name: &str) -> io::Result<bool> {
    Ok(ethtool(name, ETHTOOL_GFLAGS, 0)? & ETH_FLAG_RXVLAN != 0)
}

fn ethtool(name: &str, cmd: u32, data: u32) -> io::Result<u32> {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM)?;
    let mut value = EthtoolValue { cmd, data };
    // SAFETY: plain data, for which zeros are fine.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: `request` and the value it points to live until the call returns.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value.data)
}

/// Sets an option of a socket.
fn set_option<T: Copy>(socket: &impl AsFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: `value` has the length given, is plain data, and lives until the call returns.
    let error = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const *value).cast(),
            size_of::<T>() as u32,
        )
    };
    if error < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets an option of a socket that is a number (`man 7 socket`, `ip`, `ipv6`, `udp`).
///
/// # Errors
/// `ENOPROTOOPT`, `EINVAL`, `EPERM`: as the option has it.
pub fn set_number(socket: &impl AsFd, level: i32, name: i32, number: i32) -> io::Result<()> {
    set_option(socket, level, name, &number)
}

/// Lets a device receive frames for every MAC, for as long as the returned socket is open: the kernel undoes it even
/// if this process is killed.
///
/// # Errors
/// `ENODEV`, `EPERM`.
pub fn promiscuous(ifindex: u32) -> io::Result<OwnedFd> {
    let socket = packet_socket()?;
    // SAFETY: plain data, for which zeros are fine.
    let mut request: libc::packet_mreq = unsafe { zeroed() };
    request.mr_ifindex = ifindex as i32;
    request.mr_type = libc::PACKET_MR_PROMISC as u16;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)?;
    Ok(socket)
}

/// A packet socket that receives nothing.
///
/// # Errors
/// `EPERM`.
pub fn packet_socket() -> io::Result<OwnedFd> {
    // Protocol 0: no packet ever reaches this socket.
    socket(libc::AF_PACKET, libc::SOCK_RAW)
}

/// Sends an Ethernet frame out of a device as it is.
///
/// # Errors
/// `EMSGSIZE`: the device's MTU is too small. `ENETDOWN`, `ENXIO`: it is down, or gone. `EAGAIN`, `ENOBUFS`: no room.
pub fn send_frame(packet_socket: &OwnedFd, ifindex: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: plain data, for which zeros are fine.
    let mut to: libc::sockaddr_ll = unsafe { zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = ifindex as i32;
    // SAFETY: `frame` and `to` have the lengths given, and live until the call returns.
    let sent = unsafe {
        libc::sendto(
            packet_socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            (&raw const to).cast(),
            size_of_val(&to) as u32,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
