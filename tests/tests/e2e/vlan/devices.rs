//! VLAN devices of the hosts. Made of veths and BPF, as not every kernel has VLAN devices: like theirs, tags are
//! beside the bytes, checksums unfinished, and super-packets whole.

use anyhow::Result;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::Side;

use crate::bpf::{self, Attached, Hook};

/// `v100` with an address, and so on, at both hosts; gone with this.
pub struct Devices<'a> {
    lab: &'a Lab,
    vlans: &'a [u16],
    programs: Vec<Attached>,
}

impl<'a> Devices<'a> {
    /// Adds them.
    pub fn add(lab: &'a Lab, vlans: &'a [u16]) -> Result<Self> {
        let mut devices = Self { lab, vlans, programs: Vec::new() };
        for side in Side::BOTH {
            for vlan in vlans {
                devices.add_one(side, *vlan)?;
            }
        }
        Ok(devices)
    }

    fn add_one(&mut self, side: Side, vlan: u16) -> Result<()> {
        let host = self.lab.host(side);
        let (device, inner) = (name(vlan), format!("{}-eth0", name(vlan)));
        host.run_all([
            format!("ip link add {device} type veth peer name {inner}").as_str(),
            &format!("ip link set {inner} addrgenmode none up"),
            &format!("ip addr add {}/24 dev {device}", address(vlan, side)),
            &format!("ip link set {device} up"),
        ])?;
        let out = bpf::tag_and_send(vlan, bpf::index(host, "eth0")?);
        self.programs.push(bpf::attach(host, &inner, Hook::Ingress, &out)?);
        let back = bpf::untag_and_send(vlan, bpf::index(host, &inner)?);
        self.programs.push(bpf::attach(host, "eth0", Hook::Ingress, &back)?);
        Ok(())
    }
}

impl Drop for Devices<'_> {
    fn drop(&mut self) {
        self.programs.clear();
        for side in Side::BOTH {
            for vlan in self.vlans {
                // What could not be made need not go.
                let _ = self.lab.host(side).run(&format!("ip link del {}", name(*vlan)));
            }
        }
    }
}

/// The device of a VLAN.
pub fn name(vlan: u16) -> String {
    format!("v{vlan}")
}

/// The address of a host in a VLAN.
pub fn address(vlan: u16, side: Side) -> String {
    format!("192.168.{}.{}", vlan / 10, if side == Side::One { 1 } else { 2 })
}
