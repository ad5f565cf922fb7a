//! Two hosts, and two gateways on one wire: the chain in which candidates are compared.
//!
//! ```text
//! host01 eth0 ── eth1 tun01 eth0 ── eth0 tun02 eth1 ── eth0 host02
//! 192.168.0.1         1.1.1.2            2.2.2.2       192.168.0.2
//! ```

use anyhow::{Context as _, Result};
use l2xdp_tests::netns::Namespace;
use l2xdp_tests::topology::{BRIDGE, Lab};
use l2xdp_tests::wire::{Side, Underlay};
use l2xdp_tests::workdir::WorkDir;

use super::bpf::Program;
use super::bpf::{self, Kind, Link};
use super::device::{self, Device};
use super::frame::Plain;

/// How the wires are.
#[derive(Clone, Copy, Debug)]
pub struct Wiring {
    /// Super-packets and unfinished checksums go over them. XDP has no use for such.
    pub offloads: bool,
    /// Queues of each device, of which a CPU uses its own.
    pub queues: u32,
}

/// Frames of at most 1500 bytes with finished checksums, one queue.
pub const PLAIN: Wiring = Wiring { offloads: false, queues: 1 };

/// The chain.
pub struct Chain {
    hosts: [Namespace; 2],
    gateways: [Namespace; 2],
    /// How its wires are.
    pub wiring: Wiring,
    /// Logs and configuration.
    pub work: WorkDir,
}

/// The beginning of the namespaces' names.
const PREFIX: &str = "l2xdp-bench";

impl Chain {
    /// Builds one; what is left of an earlier one goes.
    pub fn build(wiring: Wiring) -> Result<Self> {
        let create = |name: &str| Namespace::create(&format!("{PREFIX}-{name}"));
        let hosts = [create("host01")?, create("host02")?];
        let gateways = [create("tun01")?, create("tun02")?];
        let work = WorkDir::create(&format!("{PREFIX}-chain"))?;
        let chain = Self { hosts, gateways, wiring, work };
        for namespace in chain.hosts.iter().chain(&chain.gateways) {
            namespace.set("ipv6/conf/default/disable_ipv6", "1")?;
        }
        let [host01, host02] = &chain.hosts;
        let [tun01, tun02] = &chain.gateways;
        join((host01, "eth0"), (tun01, "eth1"), wiring)?;
        join((tun01, "eth0"), (tun02, "eth0"), wiring)?;
        join((tun02, "eth1"), (host02, "eth0"), wiring)?;
        for side in Side::BOTH {
            let [here, there] = [side, side.other()].map(|side| Underlay::V4.address(side));
            chain.gateway(side).run(&format!("ip addr add {here} peer {there} dev eth0"))?;
            chain.host(side).run(&format!("ip addr add {}/24 dev eth0", Lab::lan_address(side)))?;
        }
        Ok(chain)
    }

    /// The host of a side.
    pub fn host(&self, side: Side) -> &Namespace {
        let [one, two] = &self.hosts;
        if side == Side::One { one } else { two }
    }

    /// The gateway of a side.
    pub fn gateway(&self, side: Side) -> &Namespace {
        let [one, two] = &self.gateways;
        if side == Side::One { one } else { two }
    }

    /// Has a gateway's port in a bridge, with another device if there is one, and knows the hosts: no frame has to go
    /// everywhere.
    pub fn bridge(&self, side: Side, device: &str) -> Result<()> {
        let gateway = self.gateway(side);
        gateway.run_all(BRIDGE)?;
        gateway.run(&format!("ip link set {device} master br0 up"))?;
        self.teach(side, device)
    }

    /// Tells a gateway's bridge where the hosts are.
    pub fn teach(&self, side: Side, device: &str) -> Result<()> {
        for (host, port) in [(side, "eth1"), (side.other(), device)] {
            let mac = text(Device::of(self.host(host), "eth0")?.mac);
            self.gateway(side).run(&format!("bridge fdb replace {mac} dev {port} master static"))?;
        }
        Ok(())
    }

    /// Has both gateways send on, by XDP, all that comes in.
    pub fn redirect(&self) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        for side in Side::BOTH {
            let gateway = self.gateway(side);
            for (from, to) in [("eth0", "eth1"), ("eth1", "eth0")] {
                let [from, to] = [Device::of(gateway, from)?, Device::of(gateway, to)?];
                let program = Program::load_named(Kind::Xdp, &bpf::redirect(to.index, false), "redirect")?;
                links.push(gateway.enter(|| program.attach_xdp(from.index))?);
            }
        }
        Ok(links)
    }

    /// A frame from host01 to host02.
    pub fn frame(&self) -> Result<Plain> {
        let [from, to] = [Side::One, Side::Two].map(|side| Device::of(self.host(side), "eth0"));
        let address = |side| Lab::lan_address(side).parse::<std::net::Ipv4Addr>();
        let addresses = [address(Side::One)?.octets(), address(Side::Two)?.octets()];
        Ok(Plain { macs: device::macs(to?, from?), addresses })
    }
}

fn join(here: (&Namespace, &str), there: (&Namespace, &str), wiring: Wiring) -> Result<()> {
    let (queues, peer) = (wiring.queues, there.0.name());
    let queues = format!("numtxqueues {queues} numrxqueues {queues}");
    here.0
        .run(&format!(
            "ip link add {} {queues} type veth peer name {} {queues} netns {peer}",
            here.1, there.1
        ))
        .with_context(|| format!("cannot join {} and {peer}", here.0.name()))?;
    // XDP forgets what a frame with an unfinished checksum is to become. With GRO a veth takes in what XDP sends to it; the
    // other end, when it comes up, has to find that so.
    let words = if wiring.offloads { "gro on" } else { "tx off txvlan off gro on" };
    for (namespace, device) in [here, there] {
        namespace.run(&format!("ethtool -K {device} {words}"))?;
    }
    for (namespace, device) in [here, there] {
        namespace.run(&format!("ip link set {device} up"))?;
    }
    Ok(())
}

/// A MAC address as `ip` has it.
pub fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_byte_by_byte() {
        assert_eq!(text([2, 0, 0, 0xab, 0, 1]), "02:00:00:ab:00:01");
    }
}
