//! The lab's five namespaces: host01 – tun01 – inet – tun02 – host02.
//!
//! ```text
//! host01 eth0 ── eth1 tun01 eth0 ── eth1 inet eth2 ── eth0 tun02 eth1 ── eth0 host02
//! 192.168.0.1         1.1.1.2       1.1.1.1  2.2.2.1       2.2.2.2       192.168.0.2
//! fd00::1             2001:db8:1::2    …:1::1  …:2::1      2001:db8:2::2      fd00::2
//! ```

use std::path::Path;

use anyhow::Result;

use crate::daemon::Gateways;
use crate::netns::{self, Namespace};
use crate::wire::{Attach, Side, Wire};
use crate::workdir::WorkDir;

/// Two hosts, two gateways, and a plain router between the gateways.
#[derive(Debug)]
pub struct Lab {
    /// The host at tun01.
    pub host01: Namespace,
    /// A gateway.
    pub tun01: Namespace,
    /// The router.
    pub inet: Namespace,
    /// The other gateway.
    pub tun02: Namespace,
    /// The host at tun02.
    pub host02: Namespace,
    /// Logs, captures and configuration.
    pub work: WorkDir,
}

/// The namespaces of a lab, without the prefix of their names.
pub const HOSTS: [&str; 5] = ["host01", "tun01", "inet", "tun02", "host02"];

impl Lab {
    /// Builds it; its namespaces are called `PREFIX-host01` and so on. What is left of an earlier one goes.
    pub fn build(prefix: &str) -> Result<Self> {
        let lab = Self::build_silent(prefix)?;
        lab.address_hosts()?;
        Ok(lab)
    }

    /// Builds it with hosts that have no addresses, and say nothing of their own.
    pub fn build_silent(prefix: &str) -> Result<Self> {
        remove(prefix)?;
        let [host01, tun01, inet, tun02, host02] =
            HOSTS.map(|host| Namespace::create(&format!("{prefix}-{host}")));
        let work = WorkDir::create(&format!("{prefix}-lab"))?;
        let lab = Self { host01: host01?, tun01: tun01?, inet: inet?, tun02: tun02?, host02: host02?, work };
        lab.quicken()?;
        lab.join()?;
        lab.raise_hosts()?;
        lab.address_wan()?;
        Ok(lab)
    }

    /// The host of a side.
    pub fn host(&self, side: Side) -> &Namespace {
        match side {
            Side::One => &self.host01,
            Side::Two => &self.host02,
        }
    }

    /// The gateway of a side.
    pub fn gateway(&self, side: Side) -> &Namespace {
        match side {
            Side::One => &self.tun01,
            Side::Two => &self.tun02,
        }
    }

    /// The LAN address of a host over IPv6.
    pub fn lan_address6(side: Side) -> &'static str {
        match side {
            Side::One => "fd00::1",
            Side::Two => "fd00::2",
        }
    }

    /// The LAN address of a host.
    pub fn lan_address(side: Side) -> &'static str {
        match side {
            Side::One => "192.168.0.1",
            Side::Two => "192.168.0.2",
        }
    }

    /// Readies the gateways for this wire and starts their daemons.
    pub fn start(&self, loader: &Path, wire: &Wire) -> Result<Gateways> {
        self.remove_bridges();
        if wire.attach == Attach::Netdev {
            Side::BOTH.into_iter().try_for_each(|side| self.add_bridge(side))?;
        }
        Gateways::start(self, loader, wire)
    }

    /// Has a gateway's port eth1 in a bridge br0.
    pub fn add_bridge(&self, side: Side) -> Result<()> {
        self.gateway(side).run_all(BRIDGE)
    }

    /// Takes the gateways' bridges away, if there are any.
    pub fn remove_bridges(&self) {
        for side in Side::BOTH {
            // Deleting what is not there fails, which is as good.
            let _ = self.gateway(side).run("ip link del br0");
        }
    }

    /// Lets it stay.
    pub fn keep(self) {
        let Self { host01, tun01, inet, tun02, host02, work } = self;
        [host01, tun01, inet, tun02, host02].into_iter().for_each(Namespace::keep);
        work.keep();
    }

    /// Addresses are good at once, and bridges ask nobody what they may carry.
    fn quicken(&self) -> Result<()> {
        for namespace in [&self.host01, &self.tun01, &self.inet, &self.tun02, &self.host02] {
            namespace.set("ipv6/conf/default/dad_transmits", "0")?;
            for tables in ["iptables", "ip6tables", "arptables"] {
                // Without the module br_netfilter there is nobody to ask.
                let _ = namespace.set(&format!("bridge/bridge-nf-call-{tables}"), "0");
            }
        }
        Ok(())
    }

    fn join(&self) -> Result<()> {
        for (here, port, there, peer) in [
            (&self.host01, "eth0", &self.tun01, "eth1"),
            (&self.tun01, "eth0", &self.inet, "eth1"),
            (&self.inet, "eth2", &self.tun02, "eth0"),
            (&self.tun02, "eth1", &self.host02, "eth0"),
        ] {
            let peer_namespace = there.name();
            here.run(&format!("ip link add {port} type veth peer name {peer} netns {peer_namespace}"))?;
            // As on a real wire: frames of at most 1500 bytes, with finished checksums and their VLAN tags
            // in the bytes. XDP forgets what else a frame on a veth is to become. With GRO a veth takes in
            // what XDP sends to it; without, that vanishes uncounted.
            let wire = "tx off txvlan off gro on";
            here.run(&format!("ethtool -K {port} {wire}"))?;
            there.run(&format!("ethtool -K {peer} {wire}"))?;
        }
        Ok(())
    }

    fn raise_hosts(&self) -> Result<()> {
        for host in [&self.host01, &self.host02] {
            // A transfer that stalls is to stall, not to feel its way to a smaller MSS.
            host.set("ipv4/tcp_mtu_probing", "0")?;
            host.set("ipv6/conf/eth0/disable_ipv6", "1")?;
            host.run("ip link set eth0 up")?;
        }
        for gateway in [&self.tun01, &self.tun02] {
            gateway.run_all(["ip link set eth1 addrgenmode none", "ip link set eth1 up"])?;
        }
        Ok(())
    }

    fn address_hosts(&self) -> Result<()> {
        for (host, v4, v6) in
            [(&self.host01, "192.168.0.1/24", "fd00::1/64"), (&self.host02, "192.168.0.2/24", "fd00::2/64")]
        {
            host.set("ipv6/conf/eth0/disable_ipv6", "0")?;
            address(host, "eth0", v4, v6)?;
        }
        Ok(())
    }

    fn address_wan(&self) -> Result<()> {
        self.inet.set("ipv4/ip_forward", "1")?;
        self.inet.set("ipv6/conf/all/forwarding", "1")?;
        for (namespace, port, v4, v6) in [
            (&self.tun01, "eth0", "1.1.1.2/24", "2001:db8:1::2/64"),
            (&self.inet, "eth1", "1.1.1.1/24", "2001:db8:1::1/64"),
            (&self.inet, "eth2", "2.2.2.1/24", "2001:db8:2::1/64"),
            (&self.tun02, "eth0", "2.2.2.2/24", "2001:db8:2::2/64"),
        ] {
            address(namespace, port, v4, v6)?;
            namespace.run(&format!("ip link set {port} up"))?;
        }
        self.tun01.run_all(["ip route add default via 1.1.1.1", "ip route add default via 2001:db8:1::1"])?;
        self.tun02.run_all(["ip route add default via 2.2.2.1", "ip route add default via 2001:db8:2::1"])
    }
}

fn address(namespace: &Namespace, port: &str, v4: &str, v6: &str) -> Result<()> {
    namespace.run_all([
        format!("ip addr add {v4} dev {port}").as_str(),
        &format!("ip addr add {v6} dev {port} nodad"),
    ])
}

/// Has the port eth1 of a gateway in a bridge br0.
pub const BRIDGE: [&str; 4] = [
    "ip link add br0 type bridge stp_state 0 mcast_snooping 0",
    "ip link set br0 addrgenmode none",
    "ip link set eth1 master br0",
    "ip link set br0 up",
];

/// Removes what is left of a lab of this prefix.
pub fn remove(prefix: &str) -> Result<()> {
    HOSTS.iter().try_for_each(|host| netns::remove(&format!("{prefix}-{host}")))
}

/// Removes what runs left that were killed: labs whose prefix is this and the id of a process that is no more.
pub fn remove_leftovers(prefix: &str) -> Result<()> {
    for name in netns::names(prefix) {
        let id: String = name[prefix.len()..].chars().take_while(char::is_ascii_digit).collect();
        if Path::new("/proc").join(&id).exists() {
            continue;
        }
        if let Some(lab) = HOSTS.iter().find_map(|host| name.strip_suffix(&format!("-{host}"))) {
            remove(lab)?;
        }
    }
    Ok(())
}
