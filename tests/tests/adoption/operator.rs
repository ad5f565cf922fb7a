//! What an operator types who knows nothing of l2xdp, and what neither `ip l2tp` nor l2xdp would say to the kernel.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::StreamExt as _;
use l2xdp::l2tp::L2tp;
use l2xdp::netlink;
use l2xdp_tests::command::{self, SOON};
use l2xdp_tests::interrupt;
use l2xdp_tests::netns::Namespace;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::{Side, Underlay};
use l2xdp_tests::workdir::WorkDir;
use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_packet_l2tp::{L2tpAttribute, L2tpCmd, L2tpMessage, L2tpPwType};
use serde_json::Value;

const REMOVAL: Duration = Duration::from_secs(5);

/// A tunnel between the gateways, over UDP and IPv4; its ids and ports are the lab's and so much more.
pub fn add_tunnel(lab: &Lab, offset: u32) -> Result<()> {
    for side in Side::BOTH {
        let ports = |side: Side| u32::from(side.port()) + offset;
        let encap = format!("udp udp_sport {} udp_dport {}", ports(side), ports(side.other()));
        lab.gateway(side).run(&tunnel(side, offset, &encap))?;
    }
    Ok(())
}

/// A tunnel between the gateways, over IPv4 alone.
pub fn add_ip_tunnel(lab: &Lab, offset: u32) -> Result<()> {
    Side::BOTH.into_iter().try_for_each(|side| lab.gateway(side).run(&tunnel(side, offset, "ip")).map(drop))
}

fn tunnel(side: Side, offset: u32, encap: &str) -> String {
    let ids = |side: Side| side.tunnel_id() + offset;
    format!(
        "ip l2tp add tunnel tunnel_id {} peer_tunnel_id {} local {} remote {} encap {encap}",
        ids(side),
        ids(side.other()),
        Underlay::V4.address(side),
        Underlay::V4.address(side.other()),
    )
}

/// A session in such a tunnel, whose devices `pN` have addresses of their own at both gateways.
#[derive(Clone, Copy)]
pub struct Line {
    /// What it is called by.
    pub number: u8,
    /// The tunnel's.
    pub offset: u32,
}

impl Line {
    /// In the tunnel of the lab's own numbers.
    pub fn new(number: u8) -> Self {
        Self { number, offset: 0 }
    }

    /// Its id at this side.
    pub fn id(self, side: Side) -> u32 {
        side.session_id() + u32::from(self.number)
    }

    /// Its device.
    pub fn device(self) -> String {
        format!("p{}", self.number)
    }

    /// Adds it at both gateways, with these words of `ip l2tp add session`.
    pub fn add(self, lab: &Lab, words: &str) -> Result<()> {
        for side in Side::BOTH {
            lab.gateway(side).run(&self.session(side, words))?;
            self.raise(lab, side)?;
        }
        Ok(())
    }

    fn session(self, side: Side, words: &str) -> String {
        format!(
            "ip l2tp add session name {} tunnel_id {} session_id {} peer_session_id {} {words}",
            self.device(),
            side.tunnel_id() + self.offset,
            self.id(side),
            self.id(side.other()),
        )
    }

    /// Gives its device an address, and brings it up.
    pub fn raise(self, lab: &Lab, side: Side) -> Result<()> {
        let device = self.device();
        let address = self.address(side);
        let commands = [format!("ip addr add {address}/24 dev {device}"), format!("ip link set {device} up")];
        lab.gateway(side).run_all(commands.iter().map(String::as_str))
    }

    /// The address of its device.
    pub fn address(self, side: Side) -> String {
        format!("10.0.{}.{}", self.number, if side == Side::One { 1 } else { 2 })
    }

    /// Deletes it at one gateway.
    pub fn delete(self, lab: &Lab, side: Side) -> Result<()> {
        let (tunnel, session) = (side.tunnel_id() + self.offset, self.id(side));
        lab.gateway(side).run(&format!("ip l2tp del session tunnel_id {tunnel} session_id {session}"))?;
        Ok(())
    }

    /// Frames get through, both ways.
    pub fn works(self, lab: &Lab) -> Result<()> {
        let ping = format!("ping -n -q -c 3 -i 0.05 -W 2 {}", self.address(Side::Two));
        let said = lab.tun01.run(&ping).with_context(|| format!("line {}", self.number))?;
        ensure!(said.contains(" 3 received") && !said.contains("duplicates"), "{said}");
        Ok(())
    }
}

/// A session between the hosts: its devices `l2x0` are in bridges with the hosts' ports.
pub fn add_bridged(lab: &Lab, words: &str) -> Result<()> {
    add_tunnel(lab, 0)?;
    for side in Side::BOTH {
        lab.add_bridge(side)?;
        let gateway = lab.gateway(side);
        let (tunnel, session, peer) = (side.tunnel_id(), side.session_id(), side.other().session_id());
        gateway.run(&format!(
            "ip l2tp add session name l2x0 tunnel_id {tunnel} session_id {session} peer_session_id {peer} {words}"
        ))?;
        gateway.run_all(["ip link set l2x0 master br0", "ip link set l2x0 up"])?;
    }
    Ok(())
}

/// Has `ip -batch` do all this at once.
pub fn batch(gateway: &Namespace, work: &WorkDir, commands: &str) -> Result<()> {
    let file = work.file("batch");
    fs::write(&file, commands)?;
    command::run(gateway.command("ip").arg("-batch").arg(&file), SOON)?;
    Ok(())
}

/// What `ip -j l2tp show` lists of `tunnel` or `session`, in the order of ids.
pub fn listed(gateway: &Namespace, what: &str) -> Result<Vec<Value>> {
    let text = gateway.run(&format!("ip -j l2tp show {what}"))?;
    let mut list: Vec<Value> =
        serde_json::from_str(&text).with_context(|| format!("ip l2tp printed no list: {text}"))?;
    list.sort_by_key(|item| (item["tunnel_id"].as_u64(), item["session_id"].as_u64()));
    Ok(list)
}

/// Deletes all tunnels of a gateway, and waits until they are gone.
pub fn remove_tunnels(gateway: &Namespace) -> Result<()> {
    for tunnel in listed(gateway, "tunnel")? {
        gateway.run(&format!("ip l2tp del tunnel tunnel_id {}", tunnel["tunnel_id"]))?;
    }
    let gone = interrupt::poll(REMOVAL, || {
        let left = listed(gateway, "session")?.len() + listed(gateway, "tunnel")?.len();
        Ok((left == 0).then_some(()))
    })?;
    gone.with_context(|| format!("tunnels of {} stay after they were deleted", gateway.name()))
}

/// Speaks to the kernel's L2TP in a namespace, by l2xdp's own means.
pub fn with_l2tp<T: Send>(
    gateway: &Namespace,
    action: impl AsyncFnOnce(L2tp) -> Result<T> + Send,
) -> Result<T> {
    in_runtime(gateway, async || action(L2tp::open().await?.context("this kernel has no L2TP")?).await)
}

/// A session of Ethernet with cookies of any length, which neither `ip l2tp` nor l2xdp would make.
pub fn add_odd_session(
    gateway: &Namespace,
    mut attributes: Vec<L2tpAttribute>,
    cookies: [&[u8]; 2],
) -> Result<()> {
    const COOKIE: u16 = 15;
    const PEER_COOKIE: u16 = 16;
    attributes.push(L2tpAttribute::PwType(L2tpPwType::Eth));
    let cookies = [COOKIE, PEER_COOKIE].into_iter().zip(cookies);
    let cookies = cookies.map(|(kind, cookie)| DefaultNla::new(kind, cookie.to_vec())).collect();
    send(gateway, Request { cmd: L2tpCmd::SessionCreate, attributes, cookies })
}

/// Has the kernel do something with these attributes.
pub fn ask_kernel(gateway: &Namespace, cmd: L2tpCmd, attributes: Vec<L2tpAttribute>) -> Result<()> {
    send(gateway, Request { cmd, attributes, cookies: Vec::new() })
}

fn send(gateway: &Namespace, request: Request) -> Result<()> {
    in_runtime(gateway, async || {
        let mut request = NetlinkMessage::from(GenlMessage::from_payload(request));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        let mut handle = netlink::open_genetlink()?;
        let mut answers = handle.request(request).await?;
        while let Some(answer) = answers.next().await {
            match answer?.payload {
                NetlinkPayload::Error(error) if error.code.is_some() => bail!(netlink::words_of(&error)),
                _ => {}
            }
        }
        Ok(())
    })
}

/// A message of the family. The crate's own would refuse some cookies that the kernel takes.
#[derive(Clone, Debug)]
struct Request {
    cmd: L2tpCmd,
    attributes: Vec<L2tpAttribute>,
    cookies: Vec<DefaultNla>,
}

impl GenlFamily for Request {
    fn family_name() -> &'static str {
        L2tpMessage::family_name()
    }

    fn command(&self) -> u8 {
        self.cmd.into()
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Request {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len() + self.cookies.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        let (attributes, cookies) = buffer.split_at_mut(self.attributes.as_slice().buffer_len());
        self.attributes.as_slice().emit(attributes);
        self.cookies.as_slice().emit(cookies);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Request {
    fn parse_with_param(_: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self { cmd: header.cmd.into(), attributes: Vec::new(), cookies: Vec::new() })
    }
}

fn in_runtime<T: Send>(gateway: &Namespace, action: impl AsyncFnOnce() -> Result<T> + Send) -> Result<T> {
    gateway.enter(|| tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(action()))
}
