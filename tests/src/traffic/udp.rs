//! Small datagrams, whose checksums a host may leave unfinished.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Pair, noise};

const PORT: u16 = 40001;
const LIMIT: Duration = Duration::from_secs(2);
const LENGTHS: std::ops::RangeInclusive<usize> = 0..=64;

/// Sends datagrams of all small lengths; each must arrive as it was sent, and be answered the same.
pub fn datagrams(pair: Pair<'_>) -> Result<()> {
    let near = pair.from.enter(|| Ok(UdpSocket::bind((pair.from_address, PORT))?))?;
    let far = pair.to.enter(|| Ok(UdpSocket::bind((pair.to_address, PORT))?))?;
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    for len in LENGTHS {
        let sent = noise(len, len);
        for (way, from, to) in [("forth", &near, &far), ("back", &far, &near)] {
            let context = || format!("UDP to {}, {len} bytes {way}", pair.to_address);
            from.send(sent).with_context(context)?;
            let received = receive(to).with_context(context)?;
            ensure!(received == sent, "{}: {received:02x?} came instead of {sent:02x?}", context());
        }
    }
    Ok(())
}

fn receive(socket: &UdpSocket) -> Result<Vec<u8>> {
    let mut buffer = [0; 2048];
    socket.set_read_timeout(Some(LIMIT))?;
    let len = socket.recv(&mut buffer).context("nothing came")?;
    Ok(buffer[..len].to_vec())
}
