//! Keys that are unknown, missing, or exclude each other.

use super::super::keys::{SESSION, TUNNEL, Table};
use super::{SAMPLE, assert_refused, problems, with_line};

/// A file with every key of a tunnel over IPv4, and a session with either attachment.
fn full(attachment: [&str; 2]) -> String {
    let absent =
        if attachment == ["netdev", "port"] { &["port", "vlan"][..] } else { &["netdev", "bridge", "mtu"] };
    let lines = |table: &Table| -> Vec<_> {
        let keys = table.keys.iter().filter(|key| key.name != "udp6_csum_tx" && !absent.contains(&key.name));
        keys.map(|key| key.example).collect()
    };
    [vec![TUNNEL.header], lines(&TUNNEL), lines(&SESSION)].concat().join("\n")
}

const ATTACHMENTS: [[&str; 2]; 2] = [["netdev", "port"], ["port", "netdev"]];

#[test]
fn every_misspelled_key_is_named_with_the_one_that_was_meant() {
    for text in ATTACHMENTS.map(full) {
        super::accept(&text);
        for (table, key) in keys_of(&text) {
            let misspelled = format!("{}x{}", &key[..2], &key[2..]);
            let found = problems(&replace_key(&text, key, &misspelled));
            let path = format!("{}{misspelled}", table.path);
            let named = found.iter().find(|problem| problem.key.as_deref() == Some(&path));
            let message = &named.unwrap_or_else(|| panic!("{path} is not in {found:#?}")).message;
            assert_eq!(*message, format!("is not a key of {}; did you mean {key}?", table.header));
        }
    }
}

#[test]
fn every_key_without_a_default_is_missed() {
    const DEFAULTS: [&str; 12] = [
        "encap",
        "udp_csum",
        "ttl",
        "tos",
        "cookie",
        "peer_cookie",
        "l2spec_type",
        "bridge",
        "mtu",
        "vlan",
        "mss",
        "session",
    ];
    for text in ATTACHMENTS.map(full) {
        for (table, key) in keys_of(&text) {
            let without = replace_key(&text, key, "# ");
            if DEFAULTS.contains(&key) {
                super::accept(&without);
                continue;
            }
            // Both attachments are missed under the name of the first.
            let missed = if key == "port" { "netdev" } else { key };
            let path = format!("{}{missed}", table.path);
            let line = 1 + without.lines().position(|line| line == table.header).unwrap();
            assert_refused(&without, line, &path, "is missing");
            assert_refused(&without, line, &path, "; add ");
        }
    }
}

#[test]
fn every_key_is_read() {
    for text in ATTACHMENTS.map(full) {
        for (table, key) in keys_of(&text) {
            let example = table.get(key).unwrap().example;
            let found = problems(&text.replace(&format!("\n{example}"), &format!("\n{key} = 1.5")));
            let path = format!("{}{key}", table.path);
            assert!(found.iter().any(|problem| problem.key.as_deref() == Some(&path)), "{path}: {found:#?}");
        }
    }
}

#[test]
fn unknown() {
    for (line, text, key, words) in [
        (2, "tunnel_id = 1000\nname = 'a'", "tunnel.name", "known are tunnel_id, peer_tunnel_id, encap"),
        (2, "tunnel_id = 1000\n'a b' = 1", "tunnel.\"a b\"", "is not a key of [[tunnel]]"),
        (2, "tunnel_id = 1000\nmss = 'off'", "tunnel.mss", "it belongs to [[tunnel.session]]"),
        (11, "session_id = 3000\nttl = 3", "tunnel.session.ttl", "it belongs to [[tunnel]]"),
        (
            11,
            "session_id = 3000\nseq = 'none'",
            "tunnel.session.seq",
            "known are session_id, peer_session_id",
        ),
    ] {
        assert_refused(&with_line(line, text), line + 1, key, words);
    }
    assert_refused(&format!("ttl = 3\n{SAMPLE}"), 1, "ttl", "it belongs to [[tunnel]]");
    assert_refused(&format!("{SAMPLE}[[session]]"), 20, "session", "it belongs to [[tunnel]]");
}

#[test]
fn sections() {
    assert_refused("", 1, "tunnel", "is missing; add it, for example: [[tunnel]]");
    assert_refused("tunnel = []", 1, "tunnel", "is missing; add it");
    assert_refused("tunnel = 1", 1, "tunnel", "cannot be 1; write [[tunnel]]");
    assert_refused("\n[tunnel]\ntunnel_id = 1000", 2, "tunnel", "cannot be a table; write [[tunnel]]");
    assert_refused("tunnel = [\n1]", 2, "tunnel", "cannot be 1; write [[tunnel]]");
    assert_refused(&with_line(10, "[tunnel.session]"), 10, "tunnel.session", "write [[tunnel.session]]");
}

#[test]
fn keys_that_exclude_each_other() {
    for (line, text, at, key, words) in [
        (
            4,
            "udp6_csum_tx = true",
            4,
            "tunnel.udp6_csum_tx",
            "is for IPv6, and local is IPv4; write udp_csum",
        ),
        (17, "port = 'eth1'", 17, "tunnel.session.port", "excludes netdev; keep one of the two"),
        (17, "vlan = 100", 17, "tunnel.session.vlan", "is for a port"),
        (16, "", 10, "tunnel.session.netdev", "is missing, and port too; add one of the two"),
    ] {
        assert_refused(&with_line(line, text), at, key, words);
    }
    let ipv6 = with_line(4, "udp_csum = true").replace("1.1.1.2", "fd00::1").replace("2.2.2.2", "fd00::2");
    assert_refused(&ipv6, 4, "tunnel.udp_csum", "is for IPv4, and local is IPv6; write udp6_csum_tx");

    let port = problems(&with_line(16, "port = 'eth1'"));
    let keys: Vec<_> = port.iter().filter_map(|problem| problem.key.as_deref()).collect();
    assert_eq!(keys, ["tunnel.session.bridge", "tunnel.session.mtu"]);
    assert!(port.iter().all(|problem| problem.message.contains("is for a netdev")), "{port:#?}");
}

/// The keys of a text with their tables.
fn keys_of(text: &str) -> Vec<(&'static Table, &'static str)> {
    let all = [&TUNNEL, &SESSION].into_iter().flat_map(|table| table.names().map(move |key| (table, key)));
    all.filter(|(_, key)| text.contains(&format!("\n{key} = "))).collect()
}

fn replace_key(text: &str, key: &str, by: &str) -> String {
    text.replace(&format!("\n{key} = "), &format!("\n{by} = "))
}
