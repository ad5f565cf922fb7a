//! What two tunnels or sessions of a file cannot both have.

use super::super::Config;
use super::{SAMPLE, accept, assert_refused, over_ip};

/// A second tunnel, which follows the 19 lines of the sample.
const SECOND: &str = r#"[[tunnel]]
tunnel_id = 1001
peer_tunnel_id = 2000
local = "1.1.1.2"
remote = "2.2.2.2"
udp_sport = 6001
udp_dport = 5000
[[tunnel.session]]
session_id = 3001
peer_session_id = 4000
netdev = "l2x1"
bridge = "br0"
"#;

/// The sample and the second tunnel, in which some text is replaced.
fn second(from: &str, to: &str) -> String {
    assert!(SECOND.contains(from), "{from}");
    format!("{SAMPLE}{}", SECOND.replace(from, to))
}

/// A tunnel with one session per attachment, three lines each, from line 8 on.
fn attached(attachments: &[&str]) -> String {
    let (tunnel, _) = SECOND.split_once("[[tunnel.session]]").unwrap();
    let sessions = attachments.iter().zip(1..).map(|(attachment, id)| {
        format!("[[tunnel.session]]\nsession_id = {id}\npeer_session_id = {id}\n{attachment}\n")
    });
    std::iter::once(tunnel.to_owned()).chain(sessions).collect()
}

#[test]
fn two_tunnels() {
    accept(&second("", ""));
    assert_refused(
        &second("tunnel_id = 1001", "tunnel_id = 1000"),
        21,
        "tunnel.tunnel_id",
        "1000 is already the tunnel.tunnel_id of line 2; choose another",
    );
    assert_refused(
        &second("session_id = 3001", "session_id = 3000"),
        28,
        "tunnel.session.session_id",
        "3000 is already the tunnel.session.session_id of line 11; choose another, unique in all tunnels",
    );
    // The same peer_session_id is refused as well then: it is the same tunnel.
    let same = second("udp_sport = 6001", "udp_sport = 6000").replacen(
        "peer_session_id = 4000",
        "peer_session_id = 1",
        1,
    );
    assert_refused(
        &same,
        23,
        "tunnel.local",
        "the tunnel of line 5 has the same addresses and ports, 1.1.1.2:6000 to 2.2.2.2:5000; add",
    );
}

/// Two tunnels over IP between the same addresses; the second follows the 17 lines of the first.
fn two_over_ip(peer_session_id: u32) -> String {
    let second = SECOND
        .replace("udp_sport = 6001\nudp_dport = 5000", "encap = \"ip\"")
        .replace("peer_session_id = 4000", &format!("peer_session_id = {peer_session_id}"));
    format!("{}\n{second}", over_ip())
}

#[test]
fn two_tunnels_over_ip() {
    accept(&two_over_ip(4001));
    // Another over UDP between the same addresses, with a peer_session_id that one of the two has.
    let udp = SECOND.replace("1001", "1002").replace("3001", "3002").replace("l2x1", "l2x2");
    accept(&format!("{}{udp}", two_over_ip(4001)));
    // Over IP, the peer has nothing but the session's id to tell them apart.
    assert_refused(
        &two_over_ip(4000),
        26,
        "tunnel.session.peer_session_id",
        "4000 is already the tunnel.session.peer_session_id of line 10, to the same peer; choose another",
    );
}

#[test]
fn two_sessions_to_one_peer() {
    let same =
        attached(&["netdev = 'a'", "netdev = 'b'"]).replace("peer_session_id = 2", "peer_session_id = 1");
    assert_refused(
        &same,
        14,
        "tunnel.session.peer_session_id",
        "1 is already the tunnel.session.peer_session_id of line 10",
    );
}

#[test]
fn interfaces() {
    const NETDEV: &str = "tunnel.session.netdev";
    const BRIDGE: &str = "tunnel.session.bridge";
    const PORT: &str = "tunnel.session.port";
    const VLAN: &str = "tunnel.session.vlan";
    for (first, then, line, key, words) in [
        (
            "netdev = 'a'",
            "netdev = 'a'",
            15,
            NETDEV,
            "\"a\" is already the tunnel.session.netdev of line 11; choose another",
        ),
        (
            "netdev = 'a'",
            "port = 'a'",
            15,
            PORT,
            "the tunnel.session.netdev of line 11; choose another interface",
        ),
        (
            "port = 'a'",
            "netdev = 'a'",
            15,
            NETDEV,
            "the tunnel.session.port of line 11; choose another interface",
        ),
        ("netdev = 'a'", "netdev = 'b'\nbridge = 'a'", 16, BRIDGE, "the tunnel.session.netdev of line 11"),
        (
            "name = 'a'",
            "ifname = 'a'",
            15,
            "tunnel.session.ifname",
            "\"a\" is already the tunnel.session.name of line 11; choose another interface",
        ),
        ("port = 'a'", "netdev = 'b'\nbridge = 'a'", 16, BRIDGE, "the tunnel.session.port of line 11"),
        (
            "port = 'a'",
            "port = 'a'",
            15,
            PORT,
            "the tunnel.session.port of line 11; choose another interface",
        ),
        (
            "port = 'a'",
            "port = 'a'\nvlan = 5",
            16,
            VLAN,
            "of line 11 with all its VLANs; give that session a vlan too",
        ),
        (
            "port = 'a'\nvlan = 5",
            "port = 'a'",
            16,
            PORT,
            "of line 12 with VLAN 5; choose another VLAN or interface",
        ),
        (
            "port = 'a'\nvlan = 5",
            "port = 'a'\nvlan = 5",
            17,
            VLAN,
            "of line 12 with VLAN 5; choose another VLAN",
        ),
    ] {
        assert_refused(&attached(&[first, then]), line, key, words);
    }
    assert_refused(
        &attached(&["netdev = 'a'\nbridge = 'a'"]),
        12,
        BRIDGE,
        "the tunnel.session.netdev of line 11",
    );
    accept(&attached(&[
        "port = 'a'\nvlan = 5",
        "port = 'a'\nvlan = 6",
        "port = 'b'",
        "netdev = 'c'\nbridge = 'd'",
        "bridge = 'd'",
        "",
    ]));
}

#[test]
fn are_found_in_tunnels_that_are_wrong_otherwise() {
    let text = second("tunnel_id = 1001", "tunnel_id = 1000")
        .replace("udp_dport = 5000\n[[", "[[")
        .replace("3001", "3000");
    let error = Config::parse("l2xdp.toml", &text).unwrap_err();
    let expected = [
        "l2xdp.toml:20:1: tunnel.udp_dport: is missing; add it, for example: udp_dport = 5000",
        "l2xdp.toml:21:13: tunnel.tunnel_id: 1000 is already the tunnel.tunnel_id of line 2; choose another",
        "l2xdp.toml:27:14: tunnel.session.session_id: 3000 is already the tunnel.session.session_id of line 11; \
          choose another, unique in all tunnels",
    ];
    assert_eq!(error.to_string(), expected.join("\n"));
}
