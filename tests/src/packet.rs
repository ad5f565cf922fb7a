//! Frames sent and received as they are, by packet sockets.

use std::io;
use std::mem::{size_of_val, zeroed};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::libc;
use nix::net::if_::if_nametoindex;

use crate::frames::Send;
use crate::netns::Namespace;

/// A packet socket on one interface. It does not see what this host sends.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
}

/// Not in the libc crate yet: `linux/if_packet.h`.
const PACKET_IGNORE_OUTGOING: i32 = 23;
const RECEIVE_BUFFER: i32 = 32 << 20;
/// Of a frame that a port hands over with a tag beside its bytes.
const MACS: usize = 12;

impl PacketSocket {
    /// On an interface of a namespace, taking frames for every MAC.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let context = || format!("packet socket on {interface} in {}", namespace.name());
        namespace.enter(|| Self::open_here(interface)).with_context(context)
    }

    fn open_here(interface: &str) -> Result<Self> {
        let index = if_nametoindex(interface)?;
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: takes and returns integers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        checked(fd)?;
        // SAFETY: just opened, and nobody else's.
        let socket = Self { socket: unsafe { OwnedFd::from_raw_fd(fd) } };
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, &1_i32)?;
        socket.set(libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1_i32)?;
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER)?;
        let all = libc::packet_mreq {
            mr_ifindex: index.cast_signed(),
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        socket.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &all)?;
        // SAFETY: plain data, for which zeros are fine.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = index.cast_signed();
        // SAFETY: the address lives until the call returns, and has the length given.
        let result = unsafe {
            libc::bind(socket.fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
        };
        checked(result)?;
        Ok(socket)
    }

    /// The next frame of which something holds, or nothing once the time is up.
    pub fn receive(&self, limit: Duration, wanted: impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.is_readable(left)? {
                return Ok(None);
            }
            let frame = self.receive_now()?;
            if wanted(&frame) {
                return Ok(Some(frame));
            }
        }
    }

    fn is_readable(&self, limit: Duration) -> Result<bool> {
        let mut poll = libc::pollfd { fd: self.fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, as given.
        let ready = unsafe { libc::poll(&raw mut poll, 1, limit.as_millis() as i32) };
        checked(ready)?;
        Ok(ready > 0)
    }

    fn receive_now(&self) -> Result<Vec<u8>> {
        let mut frame = vec![0; 1 << 16];
        let mut control = [0_u64; 32];
        let mut data = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        // SAFETY: plain data, for which zeros are fine.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut data;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: all that `message` points to lives on, with the lengths given.
        let len = unsafe { libc::recvmsg(self.fd(), &raw mut message, 0) };
        let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
        frame.truncate(len);
        if let Some(tag) = tag(&message) {
            frame.splice(MACS..MACS, tag);
        }
        Ok(frame)
    }

    fn set<T>(&self, level: i32, option: i32, value: &T) -> Result<()> {
        let len = size_of_val(value) as libc::socklen_t;
        // SAFETY: the pointer and the length are those of `value`.
        let result =
            unsafe { libc::setsockopt(self.fd(), level, option, std::ptr::from_ref(value).cast(), len) };
        checked(result)
    }

    fn fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

impl Send for PacketSocket {
    fn send(&self, frame: &[u8]) -> Result<()> {
        // SAFETY: the pointer and the length are those of the slice.
        let sent = unsafe { libc::send(self.fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error()).context(format!("sending {} bytes", frame.len()));
        }
        Ok(())
    }
}

/// The VLAN tag that the kernel took out of the bytes.
fn tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: the kernel filled in the message, and its control data is where it was.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: null, or a header within the control data.
    let header = unsafe { header.as_ref() }?;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: the header is that of `tpacket_auxdata`, whose data follows.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: plain data of that length.
    let auxdata: libc::tpacket_auxdata = unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() };
    let has = |flag| auxdata.tp_status & flag != 0;
    let [a, b] =
        if has(libc::TP_STATUS_VLAN_TPID_VALID) { auxdata.tp_vlan_tpid } else { 0x8100 }.to_be_bytes();
    let [c, d] = auxdata.tp_vlan_tci.to_be_bytes();
    has(libc::TP_STATUS_VLAN_VALID).then_some([a, b, c, d])
}

fn checked(result: i32) -> Result<()> {
    if result < 0 { Err(io::Error::last_os_error().into()) } else { Ok(()) }
}
