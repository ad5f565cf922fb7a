//! The ways from one gateway to the other: the candidates.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use l2xdp_tests::command::{self, SOON};
use l2xdp_tests::daemon::Daemon;
use l2xdp_tests::topology::BRIDGE;
use l2xdp_tests::wire::{Attach, Cookie, Side, Underlay, Wire};

use super::bpf::Link;
use super::chain::Chain;

/// What carries frames from one gateway to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// XDP sends them on as they are: the limit.
    Bare,
    /// The kernel's bridges send them on as they are.
    Bridge,
    /// l2xdp, cross-connecting the ports.
    Port,
    /// l2xdp, with a device that is bridged with the port.
    Netdev,
    /// The same, with TC alone, which does not have the other end of a veth split super-packets.
    NetdevTc,
    /// The kernel's VXLAN, bridged.
    Vxlan,
    /// The kernel's `l2tp_eth`, bridged.
    L2tpEth,
}

/// A way at work; it ends with this.
pub struct AtWork {
    /// Both gateways', if l2xdp is at work.
    pub daemons: Vec<Daemon>,
    _links: Vec<Link>,
}

/// The MTU of a device that carries the frames: what l2xdp and the kernel leave of 1500 bytes with a cookie of eight.
pub const TUNNEL_MTU: u32 = 1438;

impl Way {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Bridge => "raw wire",
            Self::Port => "port",
            Self::Netdev => "netdev",
            Self::NetdevTc => "netdev, TC alone",
            Self::Vxlan => "vxlan",
            Self::L2tpEth => "l2tp_eth",
        }
    }

    /// Those of them that this kernel has.
    pub fn available(ways: &[Self]) -> Vec<Self> {
        let modprobe = |words: &[&str]| command::run(Command::new("modprobe").args(words), SOON).is_ok();
        // Whether or not there are modules: a kernel may have it built in.
        modprobe(&["-a", "vxlan", "bridge", "veth"]);
        let l2tp = modprobe(&["-a", "l2tp_eth", "l2tp_netlink"]);
        ways.iter().copied().filter(|way| *way != Self::L2tpEth || l2tp).collect()
    }

    /// Puts it to work in a new chain.
    pub fn start(self, chain: &Chain, loader: &Path) -> Result<AtWork> {
        let mut at_work = AtWork { daemons: Vec::new(), _links: Vec::new() };
        match self {
            Self::Bare => at_work._links = chain.redirect()?,
            Self::Bridge => {
                for side in Side::BOTH {
                    chain.bridge(side, "eth0")?;
                }
            }
            Self::Port => at_work.daemons = daemons(chain, loader, &wire(Attach::Port))?,
            Self::Netdev | Self::NetdevTc => {
                for side in Side::BOTH {
                    chain.gateway(side).run_all(BRIDGE)?;
                }
                let mut wire = wire(Attach::Netdev);
                if self == Self::NetdevTc {
                    wire.xdp_mode = "tc";
                }
                at_work.daemons = daemons(chain, loader, &wire)?;
                for side in Side::BOTH {
                    chain.teach(side, "l2x0")?;
                }
            }
            Self::Vxlan => {
                for side in Side::BOTH {
                    let [here, there] = [side, side.other()].map(|side| Underlay::V4.address(side));
                    chain.gateway(side).run(&format!(
                        "ip link add l2x0 mtu {TUNNEL_MTU} type vxlan id 1 local {here} remote {there} dstport 4789"
                    ))?;
                    chain.bridge(side, "l2x0")?;
                }
            }
            Self::L2tpEth => {
                for side in Side::BOTH {
                    let gateway = chain.gateway(side);
                    gateway.run_all(BRIDGE)?;
                    let commands = wire(Attach::Netdev).ip_l2tp(side);
                    gateway.run_all(commands.iter().map(String::as_str))?;
                    chain.teach(side, "l2x0")?;
                }
            }
        }
        Ok(at_work)
    }
}

/// Two ways to be compared with each other.
pub fn pair(one: Way, other: Way) -> [String; 2] {
    [one, other].map(|way| way.name().to_owned())
}

fn wire(attach: Attach) -> Wire {
    Wire { cookie: Cookie::Eight, xdp_mode: "native", ..Wire::new(attach) }
}

fn daemons(chain: &Chain, loader: &Path, wire: &Wire) -> Result<Vec<Daemon>> {
    // XDP at a port would have the host split its super-packets: where there are such, l2xdp chooses.
    let mode = if chain.wiring.offloads && wire.xdp_mode == "native" { "auto" } else { wire.xdp_mode };
    let launch = |side| {
        let files = chain.work.file(chain.gateway(side).name());
        let arguments = ["--xdp-mode", mode];
        Daemon::launch(chain.gateway(side), loader, &wire.config(side), &arguments, &files)
    };
    let mut daemons = Side::BOTH.map(launch).into_iter().collect::<Result<Vec<_>>>()?;
    for (daemon, side) in daemons.iter_mut().zip(Side::BOTH) {
        daemon.await_ready().with_context(|| format!("at {}", chain.gateway(side).name()))?;
    }
    Ok(daemons)
}
