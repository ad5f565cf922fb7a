//! `l2xdp doctor`: what this kernel can do, tried out in a network namespace of its own, and what a configuration
//! would meet here. It changes nothing.

use crate::attach::{self, Attached};
use crate::config::Config;
use crate::datapath::{Datapath, Limits, ProgramName};
use crate::devices::{self, Pair};
use crate::gateway;
use crate::l2tp::{self, L2tp};
use crate::netlink::{self, open_rtnetlink};
use crate::observe::{self, Link};
use crate::plan::{self, Hook, Place};
use crate::{privileges, sys, xdp_features};
use anyhow::{Context, Result, bail};
use std::fmt::Display;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

/// Prints what was found, a line each.
///
/// # Errors
/// If something that l2xdp can't do without is missing.
pub async fn run(config: Option<&Config>) -> Result<()> {
    let mut doctor = Doctor { bad: 0 };
    doctor.report("kernel", fs::read_to_string("/proc/sys/kernel/osrelease").context("its release"));
    doctor.report("privileges", privileges::check().map(|()| "enough"));
    doctor.report("bridge netfilter", bridge_netfilter());
    if let Some(config) = config {
        doctor.configuration(config).await?;
    }
    sys::enter_new_netns()
        .context("can't make a network namespace to try things out in: run l2xdp as root")?;
    doctor.kernel().await?;
    match doctor.bad {
        0 => Ok(()),
        bad => bail!("problems found: {bad}"),
    }
}

struct Doctor {
    bad: u32,
}

impl Doctor {
    fn report<T: Display>(&mut self, what: &str, found: Result<T>) {
        match found {
            Ok(found) => println!("ok    {what}: {}", found.to_string().trim()),
            Err(error) => {
                self.bad += 1;
                println!("BAD   {what}: {error:#}");
            }
        }
    }

    /// What a configuration would do here.
    async fn configuration(&mut self, config: &Config) -> Result<()> {
        let (netlink, _) = open_rtnetlink(&[])?;
        let links = observe::links(&netlink).await?;
        for name in gateway::needed_devices(config) {
            let found = links.values().find(|link| link.name == name);
            self.report(&name, found.map(describe).context("there is no such interface"));
        }
        for tunnel in &config.tunnels {
            let route = observe::route(&netlink, &plan::query(tunnel)).await;
            let route = route.map_err(anyhow::Error::msg).map(|route| match links.get(&route.ifindex) {
                Some(link) => format!("route by {}", describe(link)),
                None => format!("route by interface {}", route.ifindex),
            });
            self.report(&format!("tunnel {}", tunnel.tunnel_id), route);
        }
        Ok(())
    }

    /// What the kernel can do. Called in an empty network namespace.
    async fn kernel(&mut self) -> Result<()> {
        let loaded = Datapath::load(Limits { sessions: 1, ports: 1 }, 0, false);
        self.report(
            "eBPF programs",
            loaded.as_ref().map(|_| "load").map_err(|error| anyhow::anyhow!("{error:#}")),
        );
        let (netlink, _) = open_rtnetlink(&[])?;
        // XDP wants the other end's frames to fit a page.
        let made = devices::create(&netlink, &Pair { mtu: 1500, ..Pair::SPLITTER }).await;
        self.report("veth", made.as_ref().map(|()| "with GRO").map_err(|error| anyhow::anyhow!("{error:#}")));
        let (Ok(mut datapath), Ok(())) = (loaded, made) else { return Ok(()) };
        let links = observe::links(&netlink).await?;
        let link = links
            .values()
            .find(|link| link.name == Pair::SPLITTER.wire)
            .context("the new veth is not there")?;
        for (what, place, program) in [
            ("XDP in the driver (veth)", Place::Xdp, ProgramName::XdpDecap),
            ("TC ingress", Place::Ingress, ProgramName::TcDecap),
            ("TC egress", Place::Egress, ProgramName::TcEncap),
        ] {
            let hook = Hook { ifindex: link.ifindex, place, program };
            let attached = attach::attach(&mut datapath, &hook, link);
            self.report(what, attached.map(|attached| way(&attached)).map_err(|refused| refused.error));
        }
        let mut netdev = netlink::open_genetlink()?;
        self.report(
            "kernel's L2TP",
            L2tp::open().await.map(|l2tp| match l2tp {
                Some(_) => "yes",
                None => "no (modprobe l2tp_eth): backend standalone alone, and nothing to accelerate",
            }),
        );
        self.report("l2spec_type of the kernel's sessions", Ok(l2spec_source()));
        let says = xdp_features::has_xmit(&mut netdev, link.ifindex).await?.is_some();
        self.report(
            "devices say whether XDP can send to them",
            Ok(if says { "yes" } else { "no (Linux 6.3): what comes from XDP for a veth goes by TC" }),
        );
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let managed = devices::manage_neighbour(&netlink, link.ifindex, address).await;
        self.report("managed neighbours", managed.map(|()| "yes"));
        Ok(())
    }
}

/// Generic netlink does not tell it.
fn l2spec_source() -> &'static str {
    if l2tp::has_debugfs() {
        "from debugfs"
    } else {
        "from the MTUs of their devices (no debugfs with l2tp_debugfs): l2xdp can't tell it once they are changed"
    }
}

fn way(attached: &Attached) -> &'static str {
    match attached {
        Attached::Xdp(_) => "by a link",
        Attached::Tcx(_) => "by a TCX link",
        Attached::Clsact { .. } => {
            "by a filter of clsact (no TCX before Linux 6.6); tc qdisc add dev DEV clsact beforehand saves packets at \
             start and end"
        }
    }
}

fn describe(link: &Link) -> String {
    let mut words = vec![format!("{} mtu {}", link.name, link.mtu)];
    if !link.running {
        words.push("down".to_owned());
    }
    if link.mac.is_none() {
        words.push("not Ethernet: l2xdp can't use it".to_owned());
    }
    if link.xdp.is_some() {
        words.push("runs an XDP program already: --xdp-mode tc, or detach it".to_owned());
    }
    if link.veth {
        words.push(
            "a veth: frames with unfinished checksums go by TC; for XDP alone, turn checksum and VLAN offload off \
             at its other end (ethtool -K … tx off txvlan off)"
                .to_owned(),
        );
    }
    words.join(", ")
}

/// It drops bridged frames whose inner IP header checksum is wrong, and costs time.
fn bridge_netfilter() -> Result<&'static str> {
    match fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables") {
        Ok(on) if on.trim() == "1" => Ok(
            "on: iptables sees bridged frames; if that is not wanted, sysctl net.bridge.bridge-nf-call-iptables=0",
        ),
        _ => Ok("off"),
    }
}
