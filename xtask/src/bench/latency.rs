//! Requests and responses: how much later they come for being tunnelled.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use l2xdp_tests::interrupt;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::Side;

use super::bpf::{self, Count, Kind, Program, Turn};
use super::chain::{Chain, PLAIN};
use super::cpu;
use super::device::Device;
use super::frame::PLAIN_HEAD;
use super::report::{Measured, Report, alternate};
use super::setting::Setting;
use super::spread::percentile;
use super::way::Way;

const WAYS: [Way; 4] = [Way::Bare, Way::Port, Way::Netdev, Way::Vxlan];
const PARTS: [f64; 3] = [50.0, 99.0, 99.9];
const REQUESTS: usize = 10_000;
/// Requests that find the way.
const FIRST: usize = 200;
const PORT: u16 = 7000;
/// As many may be lost.
const LOST: usize = REQUESTS / 1000;
/// A response that takes longer is lost.
const LATE: Duration = Duration::from_millis(20);
/// Frames of the load in one run of its generator, and in a batch.
const LOAD: [u32; 2] = [20_000, 8];
/// Nanoseconds from one to the next: what the slowest takes with half of a CPU.
const GAP: u32 = 10_000;

/// Microseconds per direction, as half of what a round trip takes.
pub fn run(setting: &Setting) -> Result<Report> {
    ensure!(
        !setting.counted && thread::available_parallelism()?.get() > 1,
        "bench latency takes two CPUs and time: run it on the host"
    );
    let name = |way: Way| way.name().to_owned();
    let figures = alternate(setting.rounds, &Way::available(&WAYS), name, |way| measure(way, setting))?;
    Ok(Report {
        bench: "latency that one direction adds".to_owned(),
        unit: "µs".to_owned(),
        notes: vec![
            format!("Half a round trip: {REQUESTS} UDP requests of host01's, sent back by XDP at host02."),
            format!("Under load: the other CPU sends a frame of 64 bytes every {} µs.", GAP / 1000),
        ],
        reference: Way::Vxlan.name().to_owned(),
        common: Some(Way::Bare.name().to_owned()),
        ..setting.report(figures)?
    })
}

fn measure(way: Way, setting: &Setting) -> Result<Measured> {
    // One queue: requests stand behind the load.
    let chain = Chain::build(PLAIN)?;
    let _at_work = way.start(&chain, &setting.loader)?;
    let load = Count::new()?;
    let far = chain.host(Side::Two);
    let device = Device::of(far, "eth0")?;
    let reflector = Program::load(Kind::Xdp, &bpf::reflector(PORT, device.index, &load))?;
    let _reflector = far.enter(|| reflector.attach_xdp(device.index))?;
    let host = chain.host(Side::One);
    let mac = super::chain::text(device.mac);
    host.run(&format!("ip neigh replace {} lladdr {mac} dev eth0", Lab::lan_address(Side::Two)))?;
    let idle = host.enter(|| {
        let asker = Asker::new()?;
        asker.ask(FIRST, &AtomicBool::new(false));
        Ok(asker.ask(REQUESTS, &AtomicBool::new(false)))
    })?;
    let loaded = under_load(&chain, &load)?;
    let mut measured = Measured::new();
    for (label, mut trips) in [("idle", idle), ("under load", loaded)] {
        let lost = REQUESTS.saturating_sub(trips.len());
        ensure!(lost <= LOST, "{label}: of {REQUESTS} requests {lost} were not answered");
        trips.sort_by(f64::total_cmp);
        for part in PARTS {
            let trip = percentile(&trips, part).context("no response came")?;
            measured.push((format!("{label}: p{part}"), trip / 2.0));
        }
    }
    Ok(measured)
}

/// What asks, in the namespace of its thread.
struct Asker(UdpSocket);

impl Asker {
    fn new() -> Result<Self> {
        cpu::claim(0, true)?;
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(SocketAddr::new(Lab::lan_address(Side::Two).parse()?, PORT))?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// The microseconds that so many responses took, those that are lost aside; fewer if it is over before, or too many are
    /// lost.
    fn ask(&self, requests: usize, over: &AtomicBool) -> Vec<f64> {
        let (mut trips, mut lost) = (Vec::with_capacity(requests), 0);
        for number in 0..requests as u64 {
            let trip = self.ask_once(number);
            lost += usize::from(trip.is_none());
            if over.load(Ordering::Relaxed) || lost > LOST {
                break;
            }
            trips.extend(trip.map(|trip| trip.as_secs_f64() * 1e6));
        }
        trips
    }

    fn ask_once(&self, number: u64) -> Option<Duration> {
        let start = Instant::now();
        self.0.send(&number.to_be_bytes()).ok()?;
        let mut response = [0; 8];
        while start.elapsed() < LATE {
            if self.0.recv(&mut response).is_ok() && u64::from_be_bytes(response) == number {
                return Some(start.elapsed());
            }
        }
        None
    }
}

/// Round trips while there is a load, run by run of its generator. What of the load is lost does not matter.
fn under_load(chain: &Chain, load: &Count) -> Result<Vec<f64>> {
    let host = chain.host(Side::One);
    let frame = chain.frame()?.bytes(64);
    let out = Device::of(host, "eth0")?.index;
    let generator = Program::load(Kind::Xdp, &bpf::pacer(&frame[..PLAIN_HEAD], GAP, &Turn::new()?, out))?;
    let generate = || {
        cpu::claim(1, true)?;
        generator.run_live_in(&frame, LOAD[0], LOAD[1])
    };
    let mut trips = Vec::new();
    while trips.len() < REQUESTS {
        interrupt::check()?;
        load.reset()?;
        let over = AtomicBool::new(false);
        let some = thread::scope(|scope| {
            let generator = scope.spawn(|| {
                let ended = host.enter(generate);
                over.store(true, Ordering::Relaxed);
                ended
            });
            let some = host.enter(|| {
                let asker = Asker::new()?;
                while load.look()?.packets == 0 && !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                Ok(asker.ask(REQUESTS - trips.len(), &over))
            });
            generator.join().map_err(|_| anyhow!("the generator panicked"))??;
            some
        })?;
        ensure!(!some.is_empty(), "under load no request was answered");
        trips.extend(some);
    }
    Ok(trips)
}
