//! Where receiving is measured: the lab, whose far gateway tun02 is the one that receives.
//!
//! ```text
//! host01 ── tun01 (l2xdp, port) ── XDP ── inet ── XDP ── tun02 eth0 … the session's device ── br0
//!                          TCP from host01 ↗        ↖ frames of the generator
//! ```
//!
//! The router sends on by XDP, so that frames come to tun02 as they come to a driver: without a socket buffer.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use l2xdp_tests::command::{self, SOON};
use l2xdp_tests::daemon::Daemon;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::{Attach, Cookie, Side, Wire};

use super::bpf::{self, Count, Kind, Link, Program};
use super::device::{self, Device};
use super::frame::{HEAD, Tunnelled};
use super::pins::Pins;
use super::receiver::Candidate;
use super::{burst, cpu, stream};

/// The lab, ready for candidates at tun02.
pub struct Scene {
    pub lab: Lab,
    pub kernel_has_l2tp: bool,
    pub(super) loader: PathBuf,
    frames: Tunnelled,
    /// The router's device towards tun02.
    out: u32,
    pub(super) realtime: bool,
    _counter: Program,
    _forwarding: Link,
    count: Count,
    pub(super) pins: Pins,
    _sender: Daemon,
}

const PREFIX: &str = "l2xdp-bench";
const BURSTS: u32 = 10;

/// The pseudowire.
pub fn wire(attach: Attach) -> Wire {
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
        let pins = Pins::create(PREFIX)?;
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
}
