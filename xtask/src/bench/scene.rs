//! Where receiving is measured: the lab, whose far gateway tun02 is the one that receives.
//!
//! ```text
//! host01 ── tun01 (l2xdp, port) ── XDP ── inet ── XDP ── tun02 eth0 … the session's device ── br0
//!                          TCP from host01 ↗        ↖ frames of the generator
//! ```
//!
//! The router sends on by XDP, so that frames come to tun02 as they come to a driver: without a socket buffer.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use anyhow::{Context as _, Result, anyhow, ensure};
use l2xdp_tests::command::{self, SOON};
use l2xdp_tests::daemon::Daemon;
use l2xdp_tests::interrupt;
use l2xdp_tests::netns::Namespace;
use l2xdp_tests::process::Process;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::{Attach, Cookie, Side, Underlay, Wire};
use nix::libc;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use super::bpf::{self, Count, Kind, Program, Seen};
use super::frame::{HEAD, Tunnelled};

/// The lab, ready for candidates at tun02.
pub struct Scene {
    pub lab: Lab,
    pub kernel_has_l2tp: bool,
    loader: PathBuf,
    frames: Tunnelled,
    /// The router's device towards tun02.
    out: u32,
    realtime: bool,
    _programs: [Program; 2],
    count: Count,
    pins: Pins,
    _sender: Daemon,
}

/// What brings frames into the session's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// Nothing: frames end at the WAN device. What all others have in common.
    None,
    /// The kernel's `l2tp_eth`.
    Kernel,
    /// `tc_decap`, into the device.
    Tc,
    /// `xdp_decap` → hidden pair with GRO → into the device.
    Xdp,
    /// `xdp_decap` → hidden end of the standalone device itself, with GRO.
    Standalone,
}

/// A candidate at work; it ends with this.
pub struct Receiver<'a> {
    _daemon: Option<Process>,
    _wan: Option<CountedWan<'a>>,
}

/// The WAN device, with all that comes in counted and dropped there.
struct CountedWan<'a>(&'a Namespace);

const PREFIX: &str = "l2xdp-bench";
const KERNEL_DEVICE: &str = "l2tpeth0";
const STAND_IN: &str = "standin0";
const START: Duration = Duration::from_secs(60);
const BURSTS: u32 = 10;
const MIB: usize = 1 << 20;
/// Many times what is under way and in buffers.
const BLOCK: usize = 4 * MIB;
/// A stream that stands still for so long has stalled.
const STALL: Duration = Duration::from_secs(20);

fn wire(attach: Attach) -> Wire {
    Wire { cookie: Cookie::Eight, xdp_mode: "native", ..Wire::new(attach) }
}

impl Scene {
    pub fn build(loader: &Path, realtime: bool) -> Result<Self> {
        let kernel_has_l2tp =
            command::run(Command::new("modprobe").args(["-a", "l2tp_eth", "l2tp_netlink"]), SOON).is_ok();
        let lab = Lab::build_silent(PREFIX)?;
        lab.host01.run("ip addr add 192.168.0.1/24 dev eth0")?;
        lab.tun02.run_all([
            "ip link add br0 type bridge stp_state 0 mcast_snooping 0",
            "ip link set br0 address 02:00:00:00:00:02 addrgenmode none up",
            "ip addr add 192.168.0.2/24 dev br0",
        ])?;
        // A window that no queue on the way overflows by.
        lab.tun02.set("ipv4/tcp_rmem", "4096 524288 524288")?;
        let pins = Pins::create()?;
        let count = Count::new()?;
        let counter = Program::load(Kind::Tc, &bpf::counter(&count))?;
        counter.pin(&pins.path("counter"))?;
        let (out, wan) = (Device::of(&lab.inet, "eth2")?, Device::of(&lab.tun02, "eth0")?);
        let macs = [wan.mac, out.mac].concat().try_into().unwrap_or([0; 12]);
        let forwarder = Program::load(Kind::Xdp, &bpf::forwarder(&macs, out.index))?;
        forwarder.pin(&pins.path("forwarder"))?;
        lab.inet.run(&format!("ip link set dev eth1 xdpdrv pinned {}", pins.path("forwarder").display()))?;
        let frames = Tunnelled {
            macs,
            addresses: [[1, 1, 1, 2], [2, 2, 2, 2]],
            ports: [Side::One.port(), Side::Two.port()],
            session: Side::Two.session_id(),
            cookie: 0x0123_4567_89ab_cdef_u64.to_be_bytes(),
        };
        let port = wire(Attach::Port);
        let sender = Daemon::start(
            &lab.tun01,
            loader,
            &port.config(Side::One),
            &["--xdp-mode", port.xdp_mode],
            &lab.work.file("tun01"),
        )?;
        let scene = Self {
            lab,
            kernel_has_l2tp,
            loader: loader.to_owned(),
            frames,
            out: out.index,
            realtime,
            _programs: [counter, forwarder],
            count,
            pins,
            _sender: sender,
        };
        if kernel_has_l2tp {
            scene.add_kernel_session()?;
        }
        Ok(scene)
    }

    /// The candidates that there are here.
    pub fn candidates(&self) -> &'static [Candidate] {
        if self.kernel_has_l2tp {
            &[Candidate::None, Candidate::Kernel, Candidate::Tc, Candidate::Xdp]
        } else {
            &[Candidate::None, Candidate::Tc, Candidate::Xdp, Candidate::Standalone]
        }
    }

    /// Has tun02 receive in one way.
    pub fn start(&self, candidate: Candidate) -> Result<Receiver<'_>> {
        let mode = if candidate == Candidate::Tc { "tc" } else { "native" };
        let mut receiver = Receiver { _daemon: None, _wan: None };
        match candidate {
            Candidate::None => {
                receiver._wan = Some(CountedWan(&self.lab.tun02));
                self.count_on("eth0")?;
            }
            Candidate::Kernel => {}
            Candidate::Tc | Candidate::Xdp if self.kernel_has_l2tp => {
                receiver._daemon = Some(self.daemon(&["accelerate", "--all", "--xdp-mode", mode])?);
            }
            Candidate::Tc | Candidate::Xdp | Candidate::Standalone => {
                let config = self.lab.work.file("tun02.toml");
                let lines = wire(Attach::Netdev).config(Side::Two);
                let unbridged = lines.lines().filter(|line| !line.starts_with("bridge"));
                fs::write(&config, unbridged.collect::<Vec<_>>().join("\n"))?;
                let config = config.to_string_lossy();
                receiver._daemon = Some(self.daemon(&["run", "--config", &config, "--xdp-mode", mode])?);
                self.bridge_device(candidate == Candidate::Xdp)?;
            }
        }
        Ok(receiver)
    }

    /// Nanoseconds from packet to packet, at the session's device, with frames of this length: in the quickest of several
    /// bursts, as all that comes between makes them slower.
    pub fn packets(&self, length: usize, burst: u32) -> Result<f64> {
        let frame = self.frames.bytes(length);
        let generator = Program::load(Kind::Xdp, &bpf::generator(&frame[..HEAD], self.out))?;
        self.lab.inet.enter(|| {
            self.claim_cpu()?;
            (0..BURSTS).try_fold(f64::INFINITY, |least, _| {
                let seen = self.generate(&generator, &frame, burst)?;
                Ok(least.min((seen.last - seen.first) as f64 / (seen.packets - 1) as f64))
            })
        })
    }

    fn generate(&self, generator: &Program, frame: &[u8], packets: u32) -> Result<Seen> {
        self.count.reset()?;
        generator.run_live(frame, packets)?;
        let seen = interrupt::poll(Duration::from_millis(500), || {
            let seen = self.count.look()?;
            Ok((seen.packets == u64::from(packets)).then_some(seen))
        })?;
        seen.with_context(|| {
            format!("of {packets} packets {} came", self.count.look().unwrap_or_default().packets)
        })
    }

    /// Nanoseconds per MiB of a TCP stream from host01 to tun02's bridge, in the quickest of several blocks.
    pub fn tcp(&self, blocks: u32) -> Result<f64> {
        let address = SocketAddr::from(([192, 168, 0, 2], 7000));
        let listener = self.lab.tun02.enter(|| Ok(TcpListener::bind(address)?))?;
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                self.lab.host01.enter(|| {
                    self.claim_cpu()?;
                    let mut stream = TcpStream::connect_timeout(&address, STALL)?;
                    stream.set_write_timeout(Some(STALL))?;
                    let block = vec![0; BLOCK];
                    (0..blocks).try_for_each(|_| stream.write_all(&block))?;
                    Ok(())
                })
            });
            let times = self.receive(&listener, blocks);
            sender.join().map_err(|_| anyhow!("the sender panicked"))??;
            let least = times?.into_iter().min().context("nothing was to be sent")?;
            Ok(least.as_nanos() as f64 / (BLOCK / MIB) as f64)
        })
    }

    /// Reads a stream, and takes the time that each block of it takes.
    fn receive(&self, listener: &TcpListener, blocks: u32) -> Result<Vec<Duration>> {
        self.claim_cpu()?;
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

    /// One CPU carries the whole chain, as what one end of a veth sends is received on the same CPU.
    fn claim_cpu(&self) -> Result<()> {
        let mut cpus = CpuSet::new();
        cpus.set(0)?;
        let this_thread = Pid::from_raw(0);
        sched_setaffinity(this_thread, &cpus).context("cannot stay on one CPU")?;
        let priority = libc::sched_param { sched_priority: 1 };
        // SAFETY: the parameter outlives the call.
        let refused = self.realtime
            && unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) } != 0;
        ensure!(!refused, "cannot keep others off the CPU: {}", io::Error::last_os_error());
        Ok(())
    }

    fn daemon(&self, arguments: &[&str]) -> Result<Process> {
        let mut command = self.lab.tun02.command(&self.loader);
        let mut daemon = Process::start(command.args(arguments), &self.lab.work.file("tun02.log"))?;
        daemon.await_sign("ready", START)?;
        Ok(daemon)
    }

    fn add_kernel_session(&self) -> Result<()> {
        let (here, there) = (Side::Two, Side::One);
        let [local, remote] = [here, there].map(|side| Underlay::V4.address(side));
        let wire = wire(Attach::Netdev);
        let [cookie, peer_cookie] = [here, there].map(|side| wire.cookie(side).unwrap_or_default());
        self.lab.tun02.run(&format!(
            "ip l2tp add tunnel tunnel_id {} peer_tunnel_id {} encap udp local {local} remote {remote} udp_sport {} udp_dport {}",
            here.tunnel_id(), there.tunnel_id(), here.port(), there.port()
        ))?;
        self.lab.tun02.run(&format!(
            "ip l2tp add session name {KERNEL_DEVICE} tunnel_id {} session_id {} peer_session_id {} cookie {cookie} peer_cookie {peer_cookie}",
            here.tunnel_id(), here.session_id(), there.session_id()
        ))?;
        self.lab.tun02.run(&format!("ip link set {KERNEL_DEVICE} master br0 up"))?;
        self.count_on(KERNEL_DEVICE)
    }

    /// Bridges the standalone session's device, or a stand-in for the kernel's to which two small programs hand all that
    /// comes in or goes out.
    fn bridge_device(&self, stand_in: bool) -> Result<()> {
        let tun02 = &self.lab.tun02;
        // Of the last round; there may be none.
        let _ = tun02.run(&format!("ip link del {STAND_IN}"));
        if !stand_in {
            tun02.run("ip link set l2x0 master br0 up")?;
            return self.count_on("l2x0");
        }
        // Nothing ever gets to its other end, which gives it a carrier.
        tun02.run(&format!("ip link add {STAND_IN} type veth peer name {STAND_IN}-end"))?;
        tun02.run(&format!("ip link set {STAND_IN}-end up"))?;
        tun02.run(&format!("ip link set {STAND_IN} mtu 1438 master br0 up"))?;
        self.count_on(STAND_IN)?;
        self.hand_over("l2x0", "ingress", STAND_IN)?;
        self.hand_over(STAND_IN, "egress", "l2x0")
    }

    fn hand_over(&self, from: &str, way: &str, to: &str) -> Result<()> {
        let index = Device::of(&self.lab.tun02, to)?.index;
        let program = Program::load(Kind::Tc, &bpf::redirect(index, way == "ingress"))?;
        let pin = self.pins.path(way);
        // Of the last round; what is attached stays.
        let _ = fs::remove_file(&pin);
        program.pin(&pin)?;
        self.filter(from, way, way)
    }

    fn count_on(&self, device: &str) -> Result<()> {
        self.filter(device, "ingress", "counter")
    }

    fn filter(&self, device: &str, way: &str, program: &str) -> Result<()> {
        // It may have one already.
        let _ = self.lab.tun02.run(&format!("tc qdisc add dev {device} clsact"));
        let pin = self.pins.path(program);
        let bpf = format!("bpf direct-action object-pinned {}", pin.display());
        self.lab.tun02.run(&format!("tc filter add dev {device} {way} {bpf}")).map(drop)
    }
}

impl Candidate {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "generator and sink alone",
            Self::Kernel => "l2tp_eth",
            Self::Tc => "tc",
            Self::Xdp => "xdp, pair, tc",
            Self::Standalone => "xdp, standalone",
        }
    }
}

impl Drop for CountedWan<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.run("tc qdisc del dev eth0 clsact") {
            eprintln!("{error:#}");
        }
    }
}

/// A device of a namespace.
struct Device {
    index: u32,
    mac: [u8; 6],
}

impl Device {
    fn of(namespace: &Namespace, name: &str) -> Result<Self> {
        let shown: Value = serde_json::from_str(&namespace.run(&format!("ip -json link show dev {name}"))?)?;
        let index = shown[0]["ifindex"].as_u64().context("ip shows no ifindex")?;
        let address = shown[0]["address"].as_str().context("ip shows no address")?;
        let bytes: Result<Vec<u8>, _> = address.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
        let mac = bytes?.try_into().map_err(|_| anyhow!("{address} is no MAC address"))?;
        Ok(Self { index: u32::try_from(index)?, mac })
    }
}

/// Names in bpffs; they go with this.
struct Pins(PathBuf);

impl Pins {
    fn create() -> Result<Self> {
        let path = Path::new("/sys/fs/bpf").join(PREFIX);
        // Left by a run that was killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
