//! Netlink sockets that bring the kernel's own words along (extended acks, `NETLINK_EXT_ACK`).

use anyhow::{Context, Result, anyhow};
use futures_channel::mpsc::UnboundedReceiver;
use genetlink::GenetlinkHandle;
use genetlink::message::RawGenlMessage;
use netlink_packet_core::{ErrorMessage, NetlinkMessage, NlaBuffer, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use rtnetlink::{Handle, MulticastGroup};
use std::error::Error;
use std::{fmt, io};

/// What the kernel announces.
pub type Changes = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// Opens rtnetlink in this thread's network namespace, and joins groups.
///
/// # Errors
/// The kernel's.
pub fn open_rtnetlink(groups: &[MulticastGroup]) -> Result<(Handle, Changes)> {
    const CONTEXT: &str = "can't open rtnetlink";
    let (mut connection, handle, changes) = rtnetlink::new_multicast_connection(groups).context(CONTEXT)?;
    with_words(connection.socket_mut().socket_mut()).context(CONTEXT)?;
    tokio::spawn(connection);
    Ok((handle, changes))
}

/// Opens generic netlink in this thread's network namespace.
///
/// # Errors
/// The kernel's.
pub fn open_genetlink() -> Result<GenetlinkHandle> {
    open(None).map(|(handle, _)| handle).context("can't open generic netlink")
}

/// Listens to a group of generic netlink, in this thread's network namespace.
///
/// # Errors
/// The kernel's.
pub fn listen_genetlink(
    group: u32,
) -> Result<UnboundedReceiver<(NetlinkMessage<RawGenlMessage>, SocketAddr)>> {
    open(Some(group)).map(|(_, messages)| messages).context("can't listen to generic netlink")
}

type Genetlink = (GenetlinkHandle, UnboundedReceiver<(NetlinkMessage<RawGenlMessage>, SocketAddr)>);

fn open(group: Option<u32>) -> io::Result<Genetlink> {
    let (mut connection, handle, messages) = genetlink::new_connection()?;
    let socket = connection.socket_mut().socket_mut();
    with_words(socket)?;
    if let Some(group) = group {
        // A socket without an address is taken for the sender, and left out (`do_one_broadcast`).
        socket.bind_auto()?;
        socket.add_membership(group)?;
    }
    tokio::spawn(connection);
    Ok((handle, messages))
}

fn with_words(socket: &rtnetlink::sys::Socket) -> io::Result<()> {
    socket.set_ext_ack(true)?;
    // Only the request's header comes back, and the words right behind it.
    socket.set_cap_ack(true)
}

/// What the kernel has refused to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its errno.
    pub errno: Option<i32>,
    words: String,
}

impl From<&ErrorMessage> for Refused {
    fn from(message: &ErrorMessage) -> Self {
        Self { errno: message.to_io().raw_os_error(), words: words_of(message) }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl Error for Refused {}

/// An error of the kernel's: errno, and its own words if it has any.
pub fn words_of(message: &ErrorMessage) -> String {
    let error = message.to_io();
    match extended_ack(&message.header) {
        Some(words) => format!("{error}: {words}"),
        None => error.to_string(),
    }
}

/// The text of an extended ack, which follows the header of the request (`struct nlmsghdr`).
fn extended_ack(echoed: &[u8]) -> Option<String> {
    const HEADER: usize = 16;
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let mut attributes = NlasIterator::new(echoed.get(HEADER..)?);
    let text: NlaBuffer<&[u8]> = attributes
        .find_map(|nla| nla.ok().filter(|nla: &NlaBuffer<&[u8]>| nla.kind() == NLMSGERR_ATTR_MSG))?;
    let text = String::from_utf8_lossy(text.value());
    Some(text.trim_end_matches('\0').to_owned())
}

/// An rtnetlink error in the kernel's words, without the crate's wrapping.
pub fn kernel_words(error: &rtnetlink::Error) -> String {
    match error {
        rtnetlink::Error::NetlinkError(message) => words_of(message),
        other => other.to_string(),
    }
}

/// An answer of rtnetlink's, its error in the kernel's words.
///
/// # Errors
/// The answer's.
pub fn words<T>(answer: Result<T, rtnetlink::Error>) -> Result<T> {
    answer.map_err(|error| anyhow!(kernel_words(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;
    use rtnetlink::{LinkUnspec, LinkVeth};

    #[test]
    fn an_extended_ack_is_behind_the_header() {
        let header = [0_u8; 16];
        assert_eq!(extended_ack(&header), None);
        assert_eq!(extended_ack(&[]), None);
        // An offset (kind 2), then the message (kind 1).
        let attributes = b"\x08\x00\x02\x00\x04\x00\x00\x00\x0b\x00\x01\x00not so\0\0";
        assert_eq!(extended_ack(&[&header[..], attributes].concat()).as_deref(), Some("not so"));
    }

    /// In a thread of its own, as the namespace is.
    #[test]
    fn the_kernel_says_why() {
        let said = std::thread::spawn(|| {
            sys::enter_new_netns()?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
                let (handle, _) = open_rtnetlink(&[])?;
                handle.link().add(LinkVeth::new("a", "b").build()).execute().await?;
                let bad = LinkUnspec::new_with_name("a").mtu(100_000).build();
                anyhow::Ok(words(handle.link().set(bad).execute().await).map_err(|error| error.to_string()))
            })
        });
        match said.join().unwrap() {
            Ok(said) => {
                assert_eq!(
                    said.unwrap_err(),
                    "Invalid argument (os error 22): mtu greater than device maximum"
                );
            }
            Err(error) => {
                let errno = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
                assert_eq!(errno, Some(libc::EPERM), "without root there is nothing to ask: {error:#}");
            }
        }
    }
}
