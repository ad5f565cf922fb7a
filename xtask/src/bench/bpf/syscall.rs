//! bpf(2).

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use nix::libc;

/// Gives a command, and what is made by it has a file.
pub fn open<T>(command: i32, attributes: T) -> io::Result<OwnedFd> {
    let fd = call(command, attributes)?;
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives a command, and returns what it returns.
pub fn call<T>(command: i32, mut attributes: T) -> io::Result<i32> {
    // SAFETY: the attributes have the length given, and what they point to outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(&mut attributes), size_of::<T>() as u32)
    };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}
