//! Keys that are unknown, missing, or exclude each other.

use super::super::keys::{ROOT, SESSION, TUNNEL, Table};
use super::{SAMPLE, assert_refused, ipv6, over_ip, problems, with_line};

/// Files that have every key between them, each without those that the others exclude.
fn full() -> [String; 4] {
    const V4: &[&str] = &["udp6_csum_tx", "udp6_csum_rx"];
    const V6: &[&str] = &["udp_csum"];
    const PORT: &[&str] = &["port", "vlan"];
    const NETDEV: &[&str] = &["netdev", "bridge", "mtu"];
    [
        without(&[V4, PORT, &["name", "ifname"]]),
        without(&[V4, NETDEV, &["name", "ifname"]]),
        ipv6(&without(&[V6, PORT, &["netdev", "ifname"]])),
        ipv6(&without(&[V6, PORT, &["netdev", "name"]])),
    ]
}

/// The examples of all keys but these, and but those that are known only to be refused.
fn without(absent: &[&[&str]]) -> String {
    let absent = [&absent.concat()[..], &["offset", "peer_offset"]].concat();
    let lines = |table: &Table| -> Vec<_> {
        table.keys.iter().filter(|key| !absent.contains(&key.name)).map(|key| key.example).collect()
    };
    let backend = ROOT.get("backend").unwrap().example;
    [vec![backend, TUNNEL.header], lines(&TUNNEL), lines(&SESSION)].concat().join("\n")
}

#[test]
fn every_misspelled_key_is_named_with_the_one_that_was_meant() {
    for text in full() {
        super::accept(&text);
        for (table, key) in keys_of(&text) {
            let misspelled = format!("{}x{}", &key[..2], &key[2..]);
            let found = problems(&replace(&text, table, key, |value| format!("{misspelled} = {value}")));
            let path = format!("{}{misspelled}", table.path);
            let named = found.iter().find(|problem| problem.key.as_deref() == Some(&path));
            let message = &named.unwrap_or_else(|| panic!("{path} is not in {found:#?}")).message;
            assert_eq!(*message, format!("is not a key of {}; did you mean {key}?", table.header));
        }
    }
}

#[test]
fn every_key_without_a_default_is_missed() {
    const REQUIRED: [&str; 8] = [
        "tunnel_id",
        "peer_tunnel_id",
        "local",
        "remote",
        "udp_sport",
        "udp_dport",
        "session_id",
        "peer_session_id",
    ];
    for text in full() {
        for (table, key) in keys_of(&text) {
            let without = replace(&text, table, key, |_| String::new());
            if REQUIRED.contains(&key) {
                let path = format!("{}{key}", table.path);
                let line = 1 + without.lines().position(|line| line == table.header).unwrap();
                assert_refused(&without, line, &path, "is missing; add it, for example: ");
            } else if key != "port" {
                // Without its port, the vlan is one too many.
                super::accept(&without);
            }
        }
    }
}

#[test]
fn every_key_is_read() {
    for text in full() {
        for (table, key) in keys_of(&text) {
            let found = problems(&replace(&text, table, key, |_| format!("{key} = 1.5")));
            let path = format!("{}{key}", table.path);
            assert!(found.iter().any(|problem| problem.key.as_deref() == Some(&path)), "{path}: {found:#?}");
        }
    }
}

#[test]
fn unknown() {
    for (line, text, key, words) in [
        (2, "tunnel_id = 1000\nzone = 1", "tunnel.zone", "known are tunnel_id, peer_tunnel_id, backend"),
        (2, "tunnel_id = 1000\n'a b' = 1", "tunnel.\"a b\"", "is not a key of [[tunnel]]"),
        (2, "tunnel_id = 1000\nmss = 'off'", "tunnel.mss", "it belongs to [[tunnel.session]]"),
        (11, "session_id = 3000\nttl = 3", "tunnel.session.ttl", "it belongs to [[tunnel]]"),
        (11, "session_id = 3000\nzone = 1", "tunnel.session.zone", "known are session_id, peer_session_id"),
        (11, "session_id = 3000\nbackend = 'auto'", "tunnel.session.backend", "it belongs to the top"),
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
        (4, "udp6_csum_rx = true", 4, "tunnel.udp6_csum_rx", "is for IPv6, and local is IPv4; leave it out"),
        (17, "port = 'eth1'", 17, "tunnel.session.port", "excludes netdev; keep one of the two"),
        (16, "name = 'a'\nport = 'eth1'", 17, "tunnel.session.port", "excludes name; keep one of the two"),
        (
            17,
            "vlan = 100",
            17,
            "tunnel.session.vlan",
            "is for a port, and this session has a netdev; leave it out",
        ),
        (
            16,
            "vlan = 100",
            16,
            "tunnel.session.vlan",
            "is for a port, and this session has none; add port, or leave it out",
        ),
    ] {
        assert_refused(&with_line(line, text), at, key, words);
    }
    assert_refused(
        &ipv6(&with_line(4, "udp_csum = true")),
        4,
        "tunnel.udp_csum",
        "is for IPv4, and local is IPv6; write udp6_csum_tx",
    );

    let port = problems(&with_line(16, "port = 'eth1'"));
    let keys: Vec<_> = port.iter().filter_map(|problem| problem.key.as_deref()).collect();
    assert_eq!(keys, ["tunnel.session.bridge", "tunnel.session.mtu"]);
    assert!(port.iter().all(|problem| problem.message.contains("is for a netdev")), "{port:#?}");
}

#[test]
fn two_names_of_one_netdev() {
    for (first, second) in [("netdev", "name"), ("netdev", "ifname"), ("name", "ifname")] {
        // Whichever stands first in the file.
        for (line, keys) in [(17, [first, second]), (16, [second, first])] {
            let text = with_line(16, &keys.map(|key| format!("{key} = 'a'")).join("\n"));
            let message = format!("is another word for {first}; keep one of the two");
            assert_refused(&text, line, &format!("tunnel.session.{second}"), &message);
        }
    }
}

#[test]
fn what_the_kernel_ignores() {
    for key in ["offset", "peer_offset"] {
        for value in ["0", "4", "'auto'"] {
            assert_refused(
                &with_line(19, &format!("{key} = {value}")),
                19,
                &format!("tunnel.session.{key}"),
                "the kernel ignores it since Linux 4.16 (no offset is ever sent); leave it out",
            );
        }
    }
}

#[test]
fn sequence_numbers_without_room() {
    for seq in ["send", "recv", "both"] {
        assert_refused(
            &with_line(15, &format!("l2spec_type = 'none'\nseq = '{seq}'")),
            16,
            "tunnel.session.seq",
            "numbers stand in the default sublayer, and l2spec_type is \"none\"; leave it out, or write \
             l2spec_type = \"default\" at both ends",
        );
    }
}

#[test]
fn keys_of_udp_in_a_tunnel_over_ip() {
    const MESSAGE: &str = "is for UDP, and encap is \"ip\"; leave it out";
    let lines =
        ["udp_sport = 6000", "udp_dport = 0", "udp_csum = false", "udp6_csum_tx = true", "udp6_csum_rx = 1"];
    for text in [over_ip(), ipv6(&over_ip())] {
        for line in lines {
            let (key, _) = line.split_once(' ').unwrap();
            let text = text.replace("encap = ", &format!("{line}\nencap = "));
            assert_refused(&text, 4, &format!("tunnel.{key}"), MESSAGE);
        }
    }
    let all = problems(&with_line(4, "encap = 'ip'\nudp_csum = true"));
    let keys: Vec<_> = all.iter().filter_map(|problem| problem.key.as_deref()).collect();
    assert_eq!(keys, ["tunnel.udp_csum", "tunnel.udp_sport", "tunnel.udp_dport"]);
}

#[test]
fn a_tunnel_over_ip_without_the_kernel() {
    const MESSAGE: &str = "\"ip\" is carried by the kernel alone; \
                           write backend = \"kernel\" or \"auto\", or encap = \"udp\"";
    let at_the_top = format!("backend = 'standalone'\n{}", over_ip());
    assert_refused(&at_the_top, 5, "tunnel.encap", MESSAGE);
    let in_the_tunnel = over_ip().replace("encap", "backend = 'standalone'\nencap");
    assert_refused(&in_the_tunnel, 5, "tunnel.encap", MESSAGE);
    assert_refused(&format!("backend = 'kernel'\n{in_the_tunnel}"), 6, "tunnel.encap", MESSAGE);
}

/// The keys of a text with their tables.
fn keys_of(text: &str) -> Vec<(&'static Table, &'static str)> {
    let tables = [&ROOT, &TUNNEL, &SESSION].into_iter();
    let all = tables.flat_map(|table| table.names().map(move |key| (table, key)));
    all.filter(|(table, key)| lines_of(text, table).iter().any(|line| value_of(line, key).is_some()))
        .collect()
}

/// A text in which a line of a table is another, made of the value there.
fn replace(text: &str, table: &Table, key: &str, new: impl Fn(&str) -> String) -> String {
    let lines = lines_of(text, table);
    let replaced: Vec<_> =
        lines.iter().map(|line| value_of(line, key).map_or((*line).to_owned(), &new)).collect();
    text.replace(&lines.join("\n"), &replaced.join("\n"))
}

/// The lines from a table's header, or the top of the file, to the next header.
fn lines_of<'a>(text: &'a str, table: &Table) -> Vec<&'a str> {
    let at_top = table.path.is_empty();
    let before = |line: &&str| !at_top && *line != table.header;
    text.lines()
        .skip_while(before)
        .skip(usize::from(!at_top))
        .take_while(|line| !line.starts_with("[["))
        .collect()
}

fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix(" = ")
}
