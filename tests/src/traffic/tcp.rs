//! A TCP connection with random bytes both ways at once, every one compared.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{Pair, noise};
use crate::interrupt;

const PORT: u16 = 40000;
const CONNECT: Duration = Duration::from_secs(4);
const STALL: Duration = Duration::from_secs(4);
const WHOLE: Duration = Duration::from_secs(20);

/// Connects the pair and sends so many bytes each way.
pub fn transfer(pair: Pair<'_>, bytes: usize) -> Result<()> {
    let address = SocketAddr::new(pair.to_address, PORT);
    let context = || format!("TCP to {address}, {bytes} bytes each way");
    transfer_to(pair, address, bytes).with_context(context)
}

fn transfer_to(pair: Pair<'_>, address: SocketAddr, bytes: usize) -> Result<()> {
    let listener = pair.to.enter(|| Ok(TcpListener::bind(address)?))?;
    let connected =
        pair.from.enter(|| TcpStream::connect_timeout(&address, CONNECT).context("cannot connect"))?;
    let accepted = accept(&listener)?;
    thread::scope(|scope| {
        let ways = [(&connected, &accepted, 1_usize), (&accepted, &connected, 2)];
        let ways = ways.map(|(from, to, seed)| {
            (scope.spawn(move || send(from, seed, bytes)), scope.spawn(move || receive(to, seed, bytes)))
        });
        for (sender, receiver) in ways {
            let joined =
                |result: thread::Result<Result<()>>| result.map_err(|_| anyhow!("a thread panicked"))?;
            let received = joined(receiver.join());
            joined(sender.join()).and(received)?;
        }
        Ok(())
    })
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let accepted = interrupt::poll(CONNECT, || Ok(listener.accept().ok()))?;
    let (stream, _) = accepted.context("nobody connected")?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn send(mut stream: &TcpStream, seed: usize, bytes: usize) -> Result<()> {
    stream.set_write_timeout(Some(STALL))?;
    stream.write_all(noise(seed, bytes)).context("sending stalled")?;
    Ok(stream.shutdown(std::net::Shutdown::Write)?)
}

fn receive(mut stream: &TcpStream, seed: usize, bytes: usize) -> Result<()> {
    stream.set_read_timeout(Some(STALL))?;
    let start = Instant::now();
    let expected = noise(seed, bytes);
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0;
    loop {
        let len = stream.read(&mut buffer).with_context(|| format!("stalled after {received} bytes"))?;
        if len == 0 {
            ensure!(received == bytes, "ended after {received} bytes");
            return Ok(());
        }
        let same = expected.get(received..received + len) == Some(&buffer[..len]);
        ensure!(same, "other bytes than were sent, after {received}");
        received += len;
        ensure!(start.elapsed() < WHOLE, "only {received} bytes in {WHOLE:?}");
    }
}
