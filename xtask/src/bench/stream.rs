//! What a TCP stream costs, in time or instructions.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use l2xdp_tests::interrupt;
use l2xdp_tests::netns::Namespace;

use super::cpu;

const MIB: usize = 1 << 20;
/// Many times what is under way and in buffers.
const BLOCK: usize = 4 * MIB;
/// A stream that stands still for so long has stalled.
const STALL: Duration = Duration::from_secs(20);

/// Nanoseconds per MiB of a TCP stream from one namespace to an address in another, in the quickest of several blocks, all
/// on one CPU.
pub fn cost(
    from: &Namespace,
    to: &Namespace,
    address: SocketAddr,
    blocks: u32,
    realtime: bool,
) -> Result<f64> {
    let listener = to.enter(|| Ok(TcpListener::bind(address)?))?;
    thread::scope(|scope| {
        let sender = scope.spawn(|| from.enter(|| send(address, blocks, realtime)));
        let times = receive(&listener, blocks, realtime);
        sender.join().map_err(|_| anyhow!("the sender panicked"))??;
        let least = times?.into_iter().min().context("nothing was to be sent")?;
        Ok(least.as_nanos() as f64 / (BLOCK / MIB) as f64)
    })
}

fn send(address: SocketAddr, blocks: u32, realtime: bool) -> Result<()> {
    cpu::claim(0, realtime)?;
    let mut stream = TcpStream::connect_timeout(&address, STALL)?;
    stream.set_write_timeout(Some(STALL))?;
    let block = vec![0; BLOCK];
    (0..blocks).try_for_each(|_| stream.write_all(&block))?;
    Ok(())
}

/// Reads a stream, and takes the time that each block of it takes.
fn receive(listener: &TcpListener, blocks: u32, realtime: bool) -> Result<Vec<Duration>> {
    cpu::claim(0, realtime)?;
    listener.set_nonblocking(true)?;
    let accepted = interrupt::poll(STALL, || match listener.accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        accepted => Ok(Some(accepted?.0)),
    })?;
    let mut stream = accepted.context("no TCP connection comes")?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(STALL))?;
    let mut block = vec![0; BLOCK];
    let mut read = || {
        let start = Instant::now();
        stream.read_exact(&mut block).context("the TCP stream stalls")?;
        Ok(start.elapsed())
    };
    (0..blocks).map(|_| read()).collect()
}
