//! The kernel's own L2TP and IPsec, as l2xdp has them and as iproute2 has them.

use std::future::Future;
use std::pin::pin;
use std::process::{self, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::{Stream, StreamExt as _};
use l2xdp::l2tp::{KernelSession, KernelTunnel, L2tp, PwType, SessionStats, TunnelEncap};
use l2xdp::{netlink, xfrm};
use l2xdp_common::pseudowire::{L2Spec, Seq};
use l2xdp_tests::command::{self, SOON};
use l2xdp_tests::netns::Namespace;
use libtest_mimic::{Arguments, Trial};
use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use serde_json::{Value, json};
use tokio::time::timeout;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The kernel tells every namespace of every tunnel (`genlmsg_multicast_allns`), and `changes` is to hear its own.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    let of_l2tp = vec![
        trial("l2tp/tunnels", tunnels),
        trial("l2tp/sessions", sessions),
        trial("l2tp/odd_cookies", odd_cookies),
        trial("l2tp/modified", modified),
        trial("l2tp/changes", changes),
        trial("l2tp/refusals", refusals),
        trial("l2tp/made_again_at_once", made_again_at_once),
        trial("l2tp/renamed_devices", renamed_devices),
        trial("l2tp/read_while_others_come_and_go", read_while_others_come_and_go),
        trial("l2tp/many", many),
    ];
    let mut trials = unless(no_l2tp(), of_l2tp, &arguments);
    trials.extend(unless(no_ipsec(), vec![trial("ipsec", ipsec)], &arguments));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn no_l2tp() -> Option<String> {
    // Where the kernel may not load modules by itself; the question that follows tells what came of it.
    let mut modprobe = Command::new("modprobe");
    let _ = modprobe.args(["-qa", "l2tp_netlink", "l2tp_eth"]).stderr(Stdio::null()).status();
    no_root().or_else(|| ip("l2tp show tunnel").err().map(|_| "this kernel has no L2TP".to_owned()))
}

fn no_ipsec() -> Option<String> {
    no_root().or_else(|| ip("xfrm policy").err().map(|_| "this kernel has no IPsec".to_owned()))
}

fn no_root() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    (!status.contains("\nUid:\t0\t0")).then(|| "network namespaces need root".to_owned())
}

/// Tests that this machine cannot run, with the reason on a line of its own.
fn unless(obstacle: Option<String>, trials: Vec<Trial>, arguments: &Arguments) -> Vec<Trial> {
    let Some(reason) = obstacle else { return trials };
    let asked = |trial: &&Trial| arguments.filter.as_ref().is_none_or(|filter| trial.name().contains(filter));
    if !arguments.list {
        trials.iter().filter(asked).for_each(|trial| println!("skipped: {}: {reason}", trial.name()));
    }
    trials.into_iter().map(|trial| trial.with_ignored_flag(true)).collect()
}

/// A test on a thread in a network namespace of its own.
fn trial<F: Future<Output = Result<()>> + 'static>(name: &str, test: fn() -> F) -> Trial {
    Trial::test(name, move || in_namespace(test).map_err(|error| format!("{error:#}").into()))
}

fn in_namespace<F: Future<Output = Result<()>>>(test: fn() -> F) -> Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let namespace = Namespace::create(&format!("l2xdp-l2tp-{}-{count}", process::id()))?;
    namespace.run_all([
        "ip link add d0 type veth peer name d1",
        "ip link set d0 up",
        "ip link set d1 up",
        "ip addr add 10.0.0.1/24 dev d0",
        "ip addr add fd00::1/64 dev d0 nodad",
    ])?;
    namespace.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { timeout(Duration::from_secs(60), test()).await })?
    })
}

/// iproute2, on the thread's own namespace.
fn ip(words: &str) -> Result<String> {
    command::run(Command::new("ip").args(words.split_whitespace()), SOON)
}

fn shown(what: &str) -> Result<Vec<Value>> {
    let text = ip(&format!("-j l2tp show {what}"))?;
    Ok(serde_json::from_str(&text)?)
}

async fn open() -> Result<L2tp> {
    L2tp::open().await?.context("the kernel has no L2TP")
}

fn tunnel(tunnel_id: u32, encap: TunnelEncap) -> KernelTunnel {
    KernelTunnel { tunnel_id, peer_tunnel_id: tunnel_id + 1000, version: 3, encap, using_ipsec: false }
}

fn udp4(tunnel_id: u32, udp_csum: bool) -> Result<KernelTunnel> {
    let (local, remote) = (format!("10.0.0.1:{tunnel_id}").parse()?, "10.0.0.2:5000".parse()?);
    let encap = TunnelEncap::Udp { local, remote, udp_csum, udp6_csum_tx: false, udp6_csum_rx: false };
    Ok(tunnel(tunnel_id, encap))
}

fn udp6(tunnel_id: u32, udp6_csum_tx: bool, udp6_csum_rx: bool) -> Result<KernelTunnel> {
    let (local, remote) = (format!("[fd00::1]:{tunnel_id}").parse()?, "[fd00::2]:5000".parse()?);
    Ok(tunnel(tunnel_id, TunnelEncap::Udp { local, remote, udp_csum: false, udp6_csum_tx, udp6_csum_rx }))
}

fn session(tunnel: &KernelTunnel, session_id: u32) -> KernelSession {
    KernelSession {
        tunnel_id: tunnel.tunnel_id,
        session_id,
        peer_tunnel_id: tunnel.peer_tunnel_id,
        peer_session_id: session_id + 1000,
        pw_type: PwType::Eth,
        cookie: Vec::new(),
        peer_cookie: Vec::new(),
        l2spec: Some(L2Spec::Default),
        seq: Seq::default(),
        lns_mode: false,
        ifname: Some(format!("s{session_id}")),
        using_ipsec: false,
        stats: SessionStats::default(),
    }
}

async fn tunnels() -> Result<()> {
    let l2tp = open().await?;
    let all = [
        udp4(6001, false)?,
        udp4(6002, true)?,
        udp6(6003, true, true)?,
        udp6(6004, false, true)?,
        udp6(6005, true, false)?,
        tunnel(6006, TunnelEncap::Ip { local: "10.0.0.1".parse()?, remote: "10.0.0.2".parse()? }),
        tunnel(6007, TunnelEncap::Ip { local: "fd00::1".parse()?, remote: "fd00::2".parse()? }),
    ];
    for tunnel in &all {
        l2tp.create_tunnel(tunnel).await?;
    }
    let found: Vec<_> = l2tp.state().await?.tunnels.into_values().collect();
    ensure!(found == all, "{found:#?}");

    let expected: Vec<_> = all.iter().map(as_iproute2).collect();
    let shown = shown("tunnel")?;
    ensure!(shown == expected, "{shown:#?}, not {expected:#?}");

    for tunnel in &all {
        l2tp.delete_tunnel(tunnel.tunnel_id).await?;
    }
    ensure!(l2tp.state().await?.tunnels.is_empty() && self::shown("tunnel")?.is_empty());
    Ok(())
}

fn as_iproute2(tunnel: &KernelTunnel) -> Value {
    let (id, peer) = (tunnel.tunnel_id, tunnel.peer_tunnel_id);
    match tunnel.encap {
        TunnelEncap::Ip { local, remote } => {
            json!({"tunnel_id": id, "encap": "IP", "local": local, "peer": remote, "peer_tunnel": peer})
        }
        TunnelEncap::Udp { local, remote, udp_csum, udp6_csum_tx, udp6_csum_rx } => {
            let mut shown = json!({
                "tunnel_id": id, "encap": "UDP", "local": local.ip(), "peer": remote.ip(), "peer_tunnel": peer,
                "local_port": local.port(), "peer_port": remote.port(),
            });
            if local.is_ipv4() {
                shown["checksum"] = udp_csum.into();
            } else {
                (shown["checksum_tx"], shown["checksum_rx"]) = (udp6_csum_tx.into(), udp6_csum_rx.into());
            }
            shown
        }
    }
}

async fn sessions() -> Result<()> {
    let l2tp = open().await?;
    let over = [udp4(6001, false)?, udp6(6002, true, true)?];
    let mut made = Vec::new();
    for tunnel in &over {
        l2tp.create_tunnel(tunnel).await?;
        for (l2spec, cookie, peer_cookie) in
            [(L2Spec::Default, 0, 0), (L2Spec::Default, 4, 8), (L2Spec::None, 8, 0), (L2Spec::None, 0, 4)]
        {
            made.push(KernelSession {
                l2spec: Some(l2spec),
                cookie: (1..=cookie).collect(),
                peer_cookie: (11..=10 + peer_cookie).collect(),
                ..session(tunnel, tunnel.tunnel_id * 10 + made.len() as u32)
            });
        }
        for (send, recv) in [(true, false), (false, true), (true, true)] {
            let seq = Seq { send, recv };
            made.push(KernelSession { seq, ..session(tunnel, tunnel.tunnel_id * 10 + made.len() as u32) });
        }
    }
    for session in &made {
        l2tp.create_session(session).await?;
    }
    let found: Vec<_> = l2tp.state().await?.sessions.into_values().collect();
    ensure!(found == made, "{found:#?}");

    let listed = shown("session")?;
    ensure!(listed.len() == made.len(), "{listed:?}");
    for session in &made {
        let shown = listed.iter().find(|shown| shown["session_id"] == session.session_id);
        same_session(session, shown.context("iproute2 does not show it")?)?;
    }
    let first = &made[0];
    l2tp.delete_session(first.tunnel_id, first.session_id).await?;
    ensure!(shown("session")?.len() == made.len() - 1);
    Ok(())
}

/// Of a session without cookies iproute2 shows those of the one before it.
fn same_session(session: &KernelSession, shown: &Value) -> Result<()> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected: [(_, Value); 6] = [
        ("tunnel_id", session.tunnel_id.into()),
        ("peer_tunnel_id", session.peer_tunnel_id.into()),
        ("peer_session_id", session.peer_session_id.into()),
        ("interface", session.ifname.clone().into()),
        ("cookie", hex(&session.cookie).into()),
        ("peer_cookie", hex(&session.peer_cookie).into()),
    ];
    for (key, expected) in expected {
        ensure!(shown[key] == expected || expected == "", "{key} is {expected}, and iproute2 shows {shown}");
    }
    for (key, on) in [("send_seq", session.seq.send), ("recv_seq", session.seq.recv)] {
        ensure!(shown.get(key).is_some() == on, "{key} is {on}, and iproute2 shows {shown}");
    }
    Ok(())
}

/// RFC 3931 has 0, 4 and 8 bytes; the kernel takes all up to 8 of whoever asks for them.
async fn odd_cookies() -> Result<()> {
    let l2tp = open().await?;
    let tunnel = udp4(6001, false)?;
    l2tp.create_tunnel(&tunnel).await?;
    for len in 1..=8_u32 {
        let cookie: Vec<_> = (0..len as u8).collect();
        let attributes = [
            (CONN_ID, tunnel.tunnel_id.to_ne_bytes().to_vec()),
            (SESSION_ID, len.to_ne_bytes().to_vec()),
            (PEER_SESSION_ID, len.to_ne_bytes().to_vec()),
            (PW_TYPE, 5_u16.to_ne_bytes().to_vec()),
            (COOKIE, cookie.clone()),
            (PEER_COOKIE, cookie),
        ];
        request(SESSION_CREATE, &attributes).await?;
    }
    let state = l2tp.state().await?;
    let cookies: Vec<_> =
        state.sessions.values().map(|session| (&session.cookie, &session.peer_cookie)).collect();
    let lengths: Vec<_> = cookies.iter().map(|(cookie, peer)| (cookie.len(), peer.len())).collect();
    ensure!(lengths == (1..=8).map(|len| (len, len)).collect::<Vec<_>>(), "{cookies:?}");
    ensure!(cookies[6].0 == &[0, 1, 2, 3, 4, 5, 6], "{cookies:?}");
    Ok(())
}

/// `linux/l2tp.h`.
const SESSION_CREATE: u8 = 5;
const PW_TYPE: u16 = 1;
const CONN_ID: u16 = 9;
const SESSION_ID: u16 = 11;
const PEER_SESSION_ID: u16 = 12;
const COOKIE: u16 = 15;
const PEER_COOKIE: u16 = 16;

/// A request that the packet crate takes for wrong.
#[derive(Clone, Debug)]
struct Raw {
    cmd: u8,
    attributes: Vec<DefaultNla>,
}

impl GenlFamily for Raw {
    fn family_name() -> &'static str {
        "l2tp"
    }

    fn command(&self) -> u8 {
        self.cmd
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Raw {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Raw {
    fn parse_with_param(_payload: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self { cmd: header.cmd, attributes: Vec::new() })
    }
}

async fn request(cmd: u8, attributes: &[(u16, Vec<u8>)]) -> Result<()> {
    let attributes = attributes.iter().map(|(kind, value)| DefaultNla::new(*kind, value.clone())).collect();
    let mut request = NetlinkMessage::from(GenlMessage::from_payload(Raw { cmd, attributes }));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut handle = netlink::open_genetlink()?;
    let mut answers = pin!(handle.request(request).await?);
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(error) = answer?.payload {
            ensure!(error.code.is_none(), "{error}");
        }
    }
    Ok(())
}

async fn modified() -> Result<()> {
    let l2tp = open().await?;
    let tunnel = udp4(6001, false)?;
    let session = session(&tunnel, 1);
    l2tp.create_tunnel(&tunnel).await?;
    l2tp.create_session(&session).await?;
    for (send, recv) in [(true, false), (true, true), (false, true), (false, false)] {
        let seq = Seq { send, recv };
        l2tp.modify_session(tunnel.tunnel_id, session.session_id, seq).await?;
        let state = l2tp.state().await?;
        let found = state.sessions.get(&session.key()).context("it is gone")?;
        ensure!(found == &KernelSession { seq, ..session.clone() }, "{found:?}");
        same_session(found, &shown("session")?[0])?;
    }
    Ok(())
}

async fn changes() -> Result<()> {
    let l2tp = open().await?;
    let mut changes = l2tp.changes().await?;
    ensure!(!comes(&mut changes).await, "nothing has changed");
    for change in [
        "tunnel tunnel_id 1 peer_tunnel_id 2 local 10.0.0.1 remote 10.0.0.2 udp_sport 5001 udp_dport 5002",
        "session tunnel_id 1 session_id 11 peer_session_id 12",
    ] {
        ip(&format!("l2tp add {change}"))?;
        ensure!(comes(&mut changes).await, "add {change}");
    }
    l2tp.modify_session(1, 11, Seq { send: true, recv: false }).await?;
    ensure!(comes(&mut changes).await, "modify");
    for change in ["session tunnel_id 1 session_id 11", "tunnel tunnel_id 1"] {
        ip(&format!("l2tp del {change}"))?;
        // The kernel may say so once more when it gets to it.
        ensure!(comes(&mut changes).await, "del {change}");
    }
    Ok(())
}

async fn comes(changes: &mut (impl Stream<Item = ()> + Unpin)) -> bool {
    matches!(timeout(Duration::from_millis(500), changes.next()).await, Ok(Some(())))
}

async fn refusals() -> Result<()> {
    let l2tp = open().await?;
    let tunnel = udp4(6001, false)?;
    let session = session(&tunnel, 1);
    l2tp.create_tunnel(&tunnel).await?;
    l2tp.create_session(&session).await?;
    let missing = KernelSession { tunnel_id: 9, ..session.clone() };
    let bad_name = KernelSession { ifname: Some("a/b".to_owned()), session_id: 2, ..session.clone() };
    let bad_cookie = KernelSession { cookie: vec![1; 3], session_id: 2, ..session.clone() };
    let no_such_address = TunnelEncap::Ip { local: "10.0.0.9".parse()?, remote: "10.0.0.2".parse()? };
    for (result, words) in [
        (
            l2tp.create_tunnel(&tunnel).await,
            "tunnel 6001: the kernel can't make it: File exists (os error 17)",
        ),
        (l2tp.create_tunnel(&udp4(6001, true)?).await, "File exists (os error 17)"),
        (
            l2tp.create_tunnel(&self::tunnel(8, no_such_address)).await,
            "tunnel 8: the kernel can't make it: local = \"10.0.0.9\" is not an address of this host",
        ),
        (
            l2tp.create_tunnel(&KernelTunnel { tunnel_id: 9, ..tunnel.clone() }).await,
            "tunnel 9: the kernel can't make it: udp_sport = 6001 is in use on 10.0.0.1",
        ),
        (
            l2tp.create_session(&session).await,
            "session 1 in tunnel 6001, device s1: the kernel can't make it: File exists (os error 17)",
        ),
        (l2tp.create_session(&missing).await, "No such device (os error 19)"),
        (
            l2tp.create_session(&bad_name).await,
            "session 2 in tunnel 6001, device a/b: the kernel can't make it: ",
        ),
        (l2tp.create_session(&bad_cookie).await, "must be 0, 4 or 8 bytes"),
        (l2tp.modify_session(9, 1, Seq::default()).await, "No such device (os error 19)"),
        (
            l2tp.delete_session(6001, 2).await,
            "session 2: the kernel can't remove it: No such device (os error 19)",
        ),
        (l2tp.delete_tunnel(9).await, "tunnel 9: the kernel can't remove it: No such device (os error 19)"),
    ] {
        let said = result.err().map(|error| format!("{error:#}")).context(words)?;
        ensure!(said.contains(words), "{said:?}, not {words:?}");
    }
    let state = l2tp.state().await?;
    ensure!(state.tunnels.len() == 1 && state.sessions.len() == 1, "{state:?}");
    Ok(())
}

/// The kernel says that something is deleted before it is.
async fn made_again_at_once() -> Result<()> {
    let l2tp = open().await?;
    let tunnel = udp4(6001, false)?;
    let session = session(&tunnel, 1);
    for _ in 0..4 {
        l2tp.create_tunnel(&tunnel).await?;
        for _ in 0..4 {
            l2tp.create_session(&session).await?;
            l2tp.delete_session(tunnel.tunnel_id, session.session_id).await?;
        }
        l2tp.create_session(&session).await?;
        l2tp.delete_tunnel(tunnel.tunnel_id).await?;
    }
    Ok(())
}

/// The kernel tells the name that a device had at first, which may be another's by now.
async fn renamed_devices() -> Result<()> {
    let l2tp = open().await?;
    let tunnel = udp4(6001, false)?;
    l2tp.create_tunnel(&tunnel).await?;
    for session_id in [1, 2] {
        l2tp.create_session(&KernelSession {
            ifname: Some("one".to_owned()),
            ..session(&tunnel, session_id)
        })
        .await?;
        if session_id == 1 {
            ip("link set one name two")?;
        }
    }
    let state = l2tp.state().await?;
    let now = |id| state.devices.get(&(tunnel.tunnel_id, id)).map(String::as_str);
    ensure!((now(1), now(2)) == (Some("two"), Some("one")), "{state:#?}");
    ensure!(state.sessions.values().all(|session| session.ifname.as_deref() == Some("one")), "{state:#?}");
    Ok(())
}

async fn read_while_others_come_and_go() -> Result<()> {
    let l2tp = open().await?;
    let stays = udp4(7000, false)?;
    l2tp.create_tunnel(&stays).await?;
    l2tp.create_session(&session(&stays, 1)).await?;
    let others = async {
        for round in 0..8 {
            let tunnel = udp4(6001 + round % 3, false)?;
            l2tp.create_tunnel(&tunnel).await?;
            l2tp.create_session(&session(&tunnel, 2)).await?;
            l2tp.delete_tunnel(tunnel.tunnel_id).await?;
        }
        anyhow::Ok(())
    };
    let reader = open().await?;
    let mut others = pin!(others);
    loop {
        tokio::select! {
            done = &mut others => return done,
            state = reader.state() => {
                let state = state?;
                let there = state.sessions.get(&(7000, 1));
                ensure!(there.is_some_and(|session| session.l2spec.is_some()), "{state:#?}");
            }
        }
    }
}

/// More than fit one datagram of a dump.
async fn many() -> Result<()> {
    const SESSIONS: u32 = 80;
    let l2tp = open().await?;
    let tunnel = udp4(6001, false)?;
    l2tp.create_tunnel(&tunnel).await?;
    for session_id in 1..=SESSIONS {
        l2tp.create_session(&session(&tunnel, session_id)).await?;
    }
    let state = l2tp.state().await?;
    ensure!(state.sessions.len() == SESSIONS as usize, "{} sessions", state.sessions.len());
    ensure!(state.sessions.values().all(|session| session.l2spec == Some(L2Spec::Default)));
    l2tp.delete_tunnel(tunnel.tunnel_id).await?;
    ensure!(l2tp.state().await?.sessions.is_empty());
    Ok(())
}

async fn ipsec() -> Result<()> {
    const ESP: &str = "tmpl proto esp mode transport";
    for (policy, expected) in [
        ("", false),
        (&format!("dir out src 10.0.0.0/24 dst 10.0.0.2 proto udp sport 6000 {ESP}"), true),
        (&format!("dir out src 10.0.0.1 dst 10.0.0.2 proto udp sport 6001 {ESP}"), false),
        (&format!("dir out src 10.0.0.1 dst 10.0.0.3 {ESP}"), false),
        (&format!("dir out src 10.0.0.1 dst 10.0.0.2 proto l2tp {ESP}"), false),
        (&format!("dir in src 10.0.0.2 dst 10.0.0.1 proto udp dport 6000 {ESP}"), true),
        (&format!("dir in src 10.0.0.1 dst 10.0.0.2 {ESP}"), false),
        (&format!("dir fwd src 10.0.0.1 dst 10.0.0.2 {ESP}"), false),
        (&format!("dir out src 0.0.0.0/0 dst 0.0.0.0/0 {ESP}"), true),
        ("dir out src ::/0 dst ::/0 action block", false),
        ("dir out src 0.0.0.0/0 dst 0.0.0.0/0 action block", true),
        ("dir out src 0.0.0.0/0 dst 0.0.0.0/0 action allow", false),
        // Of an xfrm interface, which has a way of its own.
        (&format!("dir out src 10.0.0.1 dst 10.0.0.2 if_id 7 {ESP}"), false),
        // Its packets may be marked.
        (&format!("dir out src 10.0.0.1 dst 10.0.0.2 mark 7 {ESP}"), true),
    ] {
        if !policy.is_empty() {
            ip(&format!("xfrm policy add {policy}"))?;
        }
        covered(policy, expected)?;
        ip("xfrm policy flush")?;
    }
    // The first priority counts, not the order.
    for (first, second, expected) in [(1, 2, false), (2, 1, true)] {
        ip(&format!("xfrm policy add dir out src 10.0.0.1 dst 10.0.0.2 priority {first} action allow"))?;
        ip(&format!("xfrm policy add dir out src 10.0.0.0/24 dst 10.0.0.0/24 priority {second} {ESP}"))?;
        covered("priorities", expected)?;
        ip("xfrm policy flush")?;
    }
    // Linux 5.15.
    for direction in ["in", "out"] {
        ip(&format!("xfrm policy setdefault {direction} block"))?;
        covered(direction, true)?;
        ip("xfrm policy add dir out src 0.0.0.0/0 dst 0.0.0.0/0 action allow")?;
        ip("xfrm policy add dir in src 0.0.0.0/0 dst 0.0.0.0/0 action allow")?;
        covered("exceptions", false)?;
        ip("xfrm policy flush")?;
        ip(&format!("xfrm policy setdefault {direction} accept"))?;
    }
    Ok(())
}

fn covered(what: &str, expected: bool) -> Result<()> {
    let policies = xfrm::read()?;
    let covered = policies.covers("10.0.0.1".parse()?, "10.0.0.2".parse()?, 17, 6000, 5000);
    ensure!(covered == expected, "{what:?}: {covered}, of {policies:#?}");
    Ok(())
}
