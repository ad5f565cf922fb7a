//! Where receiving is measured: the lab, whose far gateway tun02 is the one that receives.
//!
//! ```text
//! host01 ── tun01 (l2xdp, port) ── XDP ── inet ── XDP ── tun02 eth0 … the session's device ── br0
//!                          TCP from host01 ↗        ↖ frames of the generator
//! ```
//!
//! The router sends on by XDP, so that frames come to tun02 as they come to a driver: without a socket buffer.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use l2xdp_tests::command::{self, SOON};
use l2xdp_tests::daemon::Daemon;
use l2xdp_tests::netns::Namespace;
use l2xdp_tests::process::Process;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::{Attach, Cookie, Side, Underlay, Wire};

use super::bpf::{self, Count, Kind, Link, Program};
use super::device::{self, Device};
use super::frame::{HEAD, Tunnelled};
use super::{burst, cpu, stream};

/// The lab, ready for candidates at tun02.
pub struct Scene {
    pub lab: Lab,
    pub kernel_has_l2tp: bool,
    loader: PathBuf,
    frames: Tunnelled,
    /// The router's device towards tun02.
    out: u32,
    realtime: bool,
    _counter: Program,
    _forwarding: Link,
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
        let macs = device::macs(wan, out);
        let forwarder = Program::load(Kind::Xdp, &bpf::forwarder(&macs, out.index))?;
        let port = Device::of(&lab.inet, "eth1")?;
        let forwarding = lab.inet.enter(|| forwarder.attach_xdp(port.index))?;
        let frames = Tunnelled::to_two(macs);
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
            _counter: counter,
            _forwarding: forwarding,
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
    /// bursts of whole batches, as all that comes between makes them slower.
    pub fn packets(&self, length: usize, packets: u32) -> Result<f64> {
        let frame = self.frames.bytes(length);
        let generator = Program::load(Kind::Xdp, &bpf::generator(&frame[..HEAD], self.out))?;
        self.lab.inet.enter(|| {
            cpu::claim(0, self.realtime)?;
            (0..BURSTS).try_fold(f64::INFINITY, |least, _| {
                let seen = burst::send(&generator, &frame, packets, &self.count)?;
                Ok(least.min(seen.interval()?))
            })
        })
    }

    /// Nanoseconds per MiB of a TCP stream from host01 to tun02's bridge, in the quickest of several blocks.
    pub fn tcp(&self, blocks: u32) -> Result<f64> {
        let address = SocketAddr::from(([192, 168, 0, 2], 7000));
        stream::cost(&self.lab.host01, &self.lab.tun02, address, blocks, self.realtime)
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
