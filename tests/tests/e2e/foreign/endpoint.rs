//! An L2TPv3 endpoint over UDP, as RFC 3931 has it: an ordinary socket, and an encoder and a decoder of its own.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use l2xdp_tests::netns::Namespace;

use super::config::Session;
use crate::frames::Send;

/// One session at the far end.
pub struct Endpoint<'a> {
    session: &'a Session,
    socket: UdpSocket,
}

const LIMIT: Duration = Duration::from_secs(1);
/// Of the default sublayer.
const S_BIT: u32 = 0x4000_0000;
const NUMBER: u32 = 0x00ff_ffff;

impl<'a> Endpoint<'a> {
    /// At the far end's address, connected to the gateway: an ICMP error would show.
    pub fn open(namespace: &Namespace, session: &'a Session) -> Result<Self> {
        let (here, there) = (session.family.endpoint(), session.family.gateway());
        let socket = namespace.enter(|| Ok(UdpSocket::bind(here)?))?;
        socket.connect(there)?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(Self { session, socket })
    }

    /// Sends a frame in a message.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.send_raw(&encode(self.session, frame))
    }

    /// Sends whatever bytes.
    pub fn send_raw(&self, datagram: &[u8]) -> Result<()> {
        self.socket.send(datagram).context("the endpoint cannot send")?;
        Ok(())
    }

    /// Sends a frame in a message with a sequence number.
    pub fn send_numbered(&self, ns: u32, frame: &[u8]) -> Result<()> {
        self.send_raw(&encode_numbered(self.session, ns, frame))
    }

    /// The frame of the next message, which must be one of this session, without a sequence number, and right in every
    /// part.
    pub fn receive(&self) -> Result<Vec<u8>> {
        let (ns, frame) = self.receive_numbered()?;
        ensure!(ns.is_none(), "the message has the sequence number {ns:?}");
        Ok(frame)
    }

    /// The same with the sequence number, if there is one.
    pub fn receive_numbered(&self) -> Result<(Option<u32>, Vec<u8>)> {
        let mut buffer = [0; 2048];
        let len = self.socket.recv(&mut buffer).context("nothing came to the endpoint")?;
        decode(self.session, &buffer[..len])
    }

    /// The error that an ICMP message has left on the socket.
    pub fn icmp_error(&self) -> Result<Option<std::io::Error>> {
        Ok(self.socket.take_error()?)
    }
}

impl Send for Endpoint<'_> {
    fn send(&self, frame: &[u8]) -> Result<()> {
        Endpoint::send(self, frame)
    }
}

/// RFC 3931 §4.1.2.1 (session header over UDP) and §4.6 (default sublayer).
pub fn encode(session: &Session, frame: &[u8]) -> Vec<u8> {
    let sublayer: &[u8] = if session.sublayer { &[0; 4] } else { &[] };
    [head(session).as_slice(), sublayer, frame].concat()
}

/// With the S bit, and the number in 24 bits.
pub fn encode_numbered(session: &Session, ns: u32, frame: &[u8]) -> Vec<u8> {
    [head(session).as_slice(), &(S_BIT | ns).to_be_bytes(), frame].concat()
}

fn decode(session: &Session, datagram: &[u8]) -> Result<(Option<u32>, Vec<u8>)> {
    let mut rest = datagram;
    let mut take = |len: usize| {
        let (head, tail) = rest.split_at_checked(len).context("a message cut short")?;
        rest = tail;
        Ok::<_, anyhow::Error>(head)
    };
    let flags = take(4)?;
    ensure!(flags == [0x00, 0x03, 0x00, 0x00], "flags, version and reserved are {flags:02x?}");
    let id = take(4)?;
    if id != session.id_of_endpoint().to_be_bytes() {
        bail!("the session id is {id:02x?}, not that of {session}");
    }
    let cookie = take(session.cookie)?;
    ensure!(cookie == session.cookie_to_endpoint(), "the cookie is {cookie:02x?}");
    let sublayer = take(if session.sublayer { 4 } else { 0 })?;
    let word = sublayer.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    let numbered = word & S_BIT != 0;
    ensure!(word & !(S_BIT | NUMBER) == 0 && (numbered || word == 0), "the sublayer is {sublayer:02x?}");
    Ok((numbered.then_some(word & NUMBER), rest.to_vec()))
}

fn head(session: &Session) -> Vec<u8> {
    let id = session.id_of_gateway().to_be_bytes();
    [&[0x00, 0x03, 0x00, 0x00], id.as_slice(), &session.cookie_to_gateway()].concat()
}
