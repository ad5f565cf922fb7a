//! Traffic that goes on while a test does something else.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use l2xdp_tests::command::SOON;
use l2xdp_tests::process::Process;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::traffic::{Pair, noise};
use l2xdp_tests::wire::Side;
use nix::sys::signal::Signal;

/// Echo requests, 20 ms apart.
pub struct Pings(Process);

/// What became of echo requests.
#[derive(Debug, PartialEq, Eq)]
pub struct Answers {
    /// How many were sent.
    pub sent: usize,
    /// Those that were not answered.
    pub lost: Vec<usize>,
    /// Those that were answered more than once.
    pub doubled: Vec<usize>,
}

impl Pings {
    /// From the host of a side to the other, in packets of this length, fragmented by nobody within.
    pub fn start(lab: &Lab, from: Side, packet_len: u16) -> Result<Self> {
        let host = lab.host(from);
        let payload = (packet_len - 28).to_string();
        let mut ping = host.command("ping");
        ping.args(["-n", "-M", "do", "-i", "0.02", "-s", &payload, Lab::lan_address(from.other())]);
        let log = lab.work.file(&format!("{}-{packet_len}.ping", host.name()));
        Ok(Self(Process::start(&mut ping, &log)?))
    }

    /// Ends them, and waits for the last answers.
    pub fn stop(mut self) -> Result<Answers> {
        // Those under way at the end are nobody's loss.
        const UNDER_WAY: usize = 25;
        self.0.signal(Signal::SIGINT)?;
        self.0.await_end(SOON)?;
        let said = self.0.said();
        let sent = said.lines().find_map(|line| line.split_once(" packets transmitted")?.0.parse().ok());
        let sent: usize = sent.with_context(|| format!("ping says nothing: {said}"))?;
        let mut answers = vec![0; sent + 1];
        for line in said.lines().filter(|line| line.contains("bytes from")) {
            let number = line.split_once("icmp_seq=").and_then(|(_, rest)| rest.split(' ').next());
            let number: usize = number.context("an answer without a number")?.parse()?;
            // The number has 16 bits.
            *answers.get_mut(number).with_context(|| format!("too many pings: {sent}"))? += 1;
        }
        let due = 1..sent.saturating_sub(UNDER_WAY);
        Ok(Answers {
            sent,
            lost: due.filter(|&number| answers[number] == 0).collect(),
            doubled: (1..=sent).filter(|&number| answers[number] > 1).collect(),
        })
    }
}

impl Answers {
    /// Each request was answered once.
    pub fn are_all_there(&self) -> Result<()> {
        self.are_there_but(0)
    }

    /// Each request was answered once, but for so many that were not.
    pub fn are_there_but(&self, lost: usize) -> Result<()> {
        ensure!(self.sent > 50, "only {} were sent", self.sent);
        ensure!(self.lost.len() <= lost && self.doubled.is_empty(), "{self:?}");
        Ok(())
    }
}

/// A TCP connection on which noise goes forth and back, a little all the time.
pub struct Talk {
    over: Arc<AtomicBool>,
    ends: [JoinHandle<Result<usize>>; 2],
}

const PORT: u16 = 40010;
/// What no TCP outlives in good health: its retransmissions come within this.
const STALL: Duration = Duration::from_secs(8);
const PIECE: usize = 8000;
const PAUSE: Duration = Duration::from_millis(10);

impl Talk {
    /// Between the hosts.
    pub fn start(lab: &Lab) -> Result<Self> {
        let pair = Pair::v4(lab, Side::One)?;
        let address = SocketAddr::new(pair.to_address, PORT);
        let listener = pair.to.enter(|| Ok(TcpListener::bind(address)?))?;
        let near =
            pair.from.enter(|| TcpStream::connect_timeout(&address, STALL).context("cannot connect"))?;
        let (far, _) = listener.accept()?;
        for stream in [&near, &far] {
            stream.set_read_timeout(Some(STALL))?;
            stream.set_write_timeout(Some(STALL))?;
            stream.set_nodelay(true)?;
        }
        let over = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&over);
        let ends = [thread::spawn(move || ask(&near, &ending)), thread::spawn(move || echo(&far))];
        Ok(Self { over, ends })
    }

    /// Ends it; how many bytes went forth and back.
    pub fn stop(self) -> Result<usize> {
        self.over.store(true, Ordering::Relaxed);
        let ends = self.ends.map(|end| end.join().map_err(|_| anyhow!("a thread panicked"))?);
        let [asked, echoed] = ends;
        let (asked, echoed) = (asked.context("TCP")?, echoed.context("TCP, the far end")?);
        ensure!(asked == echoed && asked > 0, "{asked} bytes sent, {echoed} echoed");
        Ok(asked)
    }
}

fn ask(mut stream: &TcpStream, over: &AtomicBool) -> Result<usize> {
    let mut back = vec![0; PIECE];
    let mut bytes = 0;
    for seed in (1..100).cycle() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let piece = noise(seed, PIECE);
        stream.write_all(piece).with_context(|| format!("sending stalled after {bytes} bytes"))?;
        stream.read_exact(&mut back).with_context(|| format!("no echo after {bytes} bytes"))?;
        ensure!(back == piece, "other bytes came back than were sent, after {bytes}");
        bytes += PIECE;
        thread::sleep(PAUSE);
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    Ok(bytes)
}

fn echo(mut stream: &TcpStream) -> Result<usize> {
    let mut buffer = vec![0; PIECE];
    let mut bytes = 0;
    loop {
        let len = stream.read(&mut buffer).with_context(|| format!("nothing came after {bytes} bytes"))?;
        if len == 0 {
            return Ok(bytes);
        }
        stream.write_all(&buffer[..len])?;
        bytes += len;
    }
}
