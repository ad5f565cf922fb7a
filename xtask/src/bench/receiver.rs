//! What receives at tun02: the candidates.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use l2xdp_tests::netns::Namespace;
use l2xdp_tests::process::Process;
use l2xdp_tests::wire::{Attach, Side, Underlay};

use super::bpf::{self, Kind, Program};
use super::device::Device;
use super::scene::{Scene, wire};

const STAND_IN: &str = "standin0";
const KERNEL_DEVICE: &str = "l2tpeth0";
const START: Duration = Duration::from_secs(60);

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

impl Scene {
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

    fn daemon(&self, arguments: &[&str]) -> Result<Process> {
        let mut command = self.lab.tun02.command(&self.loader);
        let mut daemon = Process::start(command.args(arguments), &self.lab.work.file("tun02.log"))?;
        daemon.await_sign("ready", START)?;
        Ok(daemon)
    }

    /// Adds the session of the kernel's own, and counts what comes in on its device.
    pub fn add_kernel_session(&self) -> Result<()> {
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
