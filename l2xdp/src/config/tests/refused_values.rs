//! Values that cannot be, each in the place of one line of the sample.

use super::{SAMPLE, assert_refused, over_ip, with_line};

/// Line, what stands there instead, the key that is named, and words of the message.
type Case = (usize, &'static str, &'static str, &'static str);

fn assert_all(cases: &[Case]) {
    for &(line, text, key, words) in cases {
        assert_refused(&with_line(line, text), line, key, words);
    }
}

#[test]
fn numbers() {
    assert_all(&[
        (2, "tunnel_id = 0", "tunnel.tunnel_id", "cannot be 0; write a whole number from 1 to 4294967295"),
        (2, "tunnel_id = 4294967296", "tunnel.tunnel_id", "from 1 to 4294967295"),
        (2, "tunnel_id = '1000'", "tunnel.tunnel_id", "the string \"1000\"; write a whole number"),
        (3, "peer_tunnel_id = -1", "tunnel.peer_tunnel_id", "cannot be -1; write"),
        (3, "peer_tunnel_id = 1.5", "tunnel.peer_tunnel_id", "cannot be 1.5; write"),
        (3, "peer_tunnel_id = 99999999999999999999", "tunnel.peer_tunnel_id", "from 1 to 4294967295"),
        (7, "udp_sport = 0", "tunnel.udp_sport", "from 1 to 65535"),
        (7, "udp_sport = 65536", "tunnel.udp_sport", "from 1 to 65535"),
        (8, "udp_dport = 0", "tunnel.udp_dport", "from 1 to 65535"),
        (8, "udp_dport = [5000]", "tunnel.udp_dport", "an array; write a whole number"),
        (4, "ttl = 0", "tunnel.ttl", "from 1 to 255"),
        (4, "ttl = 256", "tunnel.ttl", "from 1 to 255"),
        (4, "ttl = 'inherit'", "tunnel.ttl", "from 1 to 255"),
        (11, "session_id = 0", "tunnel.session.session_id", "from 1 to 4294967295"),
        (12, "peer_session_id = 0", "tunnel.session.peer_session_id", "from 1 to 4294967295"),
        (12, "peer_session_id = true", "tunnel.session.peer_session_id", "true; write a whole number"),
    ]);
}

#[test]
fn words() {
    assert_all(&[
        (
            4,
            "backend = 'user'",
            "tunnel.backend",
            "cannot be the string \"user\"; write \"auto\", \"kernel\" or \"standalone\"",
        ),
        (4, "backend = true", "tunnel.backend", "cannot be true; write \"auto\", \"kernel\" or"),
        (4, "encap = 'gre'", "tunnel.encap", "cannot be the string \"gre\"; write \"udp\" or \"ip\""),
        (4, "encap = 115", "tunnel.encap", "cannot be 115; write \"udp\" or \"ip\""),
        (4, "udp_csum = 'on'", "tunnel.udp_csum", "the string \"on\"; write true or false"),
        (4, "udp_csum = 1", "tunnel.udp_csum", "write true or false"),
        (4, "tos = 46", "tunnel.tos", "ECN bits, the lowest two; for DSCP 46 write 184"),
        (4, "tos = 255", "tunnel.tos", "ECN bits, the lowest two; write 252"),
        (4, "tos = 256", "tunnel.tos", "\"inherit\" or a whole number from 0 to 255"),
        (4, "tos = 'EF'", "tunnel.tos", "\"inherit\" or a whole number from 0 to 255"),
        (15, "l2spec_type = 'off'", "tunnel.session.l2spec_type", "write \"default\" or \"none\""),
        (15, "l2spec_type = 0", "tunnel.session.l2spec_type", "write \"default\" or \"none\""),
        (
            19,
            "seq = 'on'",
            "tunnel.session.seq",
            "cannot be the string \"on\"; write \"none\", \"send\", \"recv\" or \"both\"",
        ),
        (19, "seq = true", "tunnel.session.seq", "cannot be true; write \"none\""),
        (18, "mtu = 67", "tunnel.session.mtu", "\"auto\" or a whole number from 68 to 65535"),
        (18, "mtu = 65536", "tunnel.session.mtu", "\"auto\" or a whole number from 68 to 65535"),
        (
            18,
            "mtu = 65474",
            "tunnel.session.mtu",
            "does not fit into an outer IP packet; write \"auto\" or at most 65473",
        ),
        (18, "mtu = 'off'", "tunnel.session.mtu", "\"auto\" or a whole number"),
        (19, "mss = 63", "tunnel.session.mss", "\"off\" or a whole number from 64 to 65495"),
        (19, "mss = 65496", "tunnel.session.mss", "\"off\" or a whole number from 64 to 65495"),
        (19, "mss = false", "tunnel.session.mss", "\"auto\", \"off\" or a whole number"),
    ]);
    assert_refused(
        &format!("backend = 'user'\n{SAMPLE}"),
        1,
        "backend",
        "cannot be the string \"user\"; write \"auto\", \"kernel\" or \"standalone\"",
    );
    assert_refused(
        &over_ip().replace("\"auto\"\nmss", "65486\nmss"),
        16,
        "tunnel.session.mtu",
        "does not fit into an outer IP packet; write \"auto\" or at most 65485",
    );
}

#[test]
fn cookies() {
    assert_all(&[
        (13, "cookie = '012'", "tunnel.session.cookie", "3 hex digits, which is half a byte"),
        (13, "cookie = '0123'", "tunnel.session.cookie", "4 hex digits; write 0, 8 or 16"),
        (13, "cookie = '000000000000000000'", "tunnel.session.cookie", "18 hex digits; write 0, 8 or 16"),
        (13, "cookie = '0x012345'", "tunnel.session.cookie", "'x' is not a hex digit; write 0, 8 or 16"),
        (13, "cookie = '+1234567'", "tunnel.session.cookie", "'+' is not a hex digit"),
        (13, "cookie = 'ä0123456'", "tunnel.session.cookie", "'ä' is not a hex digit"),
        (13, "cookie = 12345678", "tunnel.session.cookie", "hex digits in quotes"),
        (14, "peer_cookie = '01:23:45:67'", "tunnel.session.peer_cookie", "without 0x or colons"),
    ]);
}

#[test]
fn addresses() {
    assert_all(&[
        (5, "local = 1", "tunnel.local", "an IPv4 or IPv6 address in quotes"),
        (5, "local = 'gw.example'", "tunnel.local", "not a host name"),
        (5, "local = '1.1.1.2/24'", "tunnel.local", "without a prefix length"),
        (5, "local = '0.0.0.0'", "tunnel.local", "is not one address; write the one"),
        (5, "local = '::'", "tunnel.local", "is not one address; write the one"),
        (5, "local = '::ffff:1.1.1.2'", "tunnel.local", "IPv6 notation; write 1.1.1.2"),
        (5, "local = 'fe80::1'", "tunnel.local", "is link-local"),
        (5, "local = 'fe80::1%eth0'", "tunnel.local", "write a global or unique local address"),
        (
            5,
            "local = 'fd00::1%eth0'",
            "tunnel.local",
            "has a scope, which only link-local ones need; write fd00::1",
        ),
        (6, "remote = '224.0.0.1'", "tunnel.remote", "is a multicast address; write a unicast one"),
        (6, "remote = 'ff02::1'", "tunnel.remote", "is a multicast address; write a unicast one"),
        (6, "remote = '255.255.255.255'", "tunnel.remote", "is the broadcast address"),
        (6, "remote = '2001:db8::2'", "tunnel.remote", "another family than local, 1.1.1.2; write two"),
        (6, "remote = '1.1.1.2'", "tunnel.remote", "is local too; write the peer's address"),
    ]);
}

#[test]
fn interface_names() {
    assert_all(&[
        (16, "netdev = 1", "tunnel.session.netdev", "the name of an interface in quotes"),
        (16, "netdev = ''", "tunnel.session.netdev", "is empty; name an interface"),
        (
            16,
            "netdev = 'abcdefghijklmnop'",
            "tunnel.session.netdev",
            "has 16 bytes; interface names have at most 15",
        ),
        (16, "netdev = 'a/b'", "tunnel.session.netdev", "leave out '/'"),
        (16, "netdev = 'a b'", "tunnel.session.netdev", "spaces"),
        (16, "netdev = \"a\\u0000b\"", "tunnel.session.netdev", "control characters"),
        (16, "netdev = 'à'", "tunnel.session.netdev", "leave out"), // its second byte is 0xa0
        (16, "netdev = 'eth0:1'", "tunnel.session.netdev", "':'"),
        (16, "netdev = 'l2x%d'", "tunnel.session.netdev", "'%'"),
        (16, "netdev = '.'", "tunnel.session.netdev", "reserved by the kernel"),
        (16, "netdev = 'all'", "tunnel.session.netdev", "reserved by the kernel; choose another name"),
        (16, "name = 'a/b'", "tunnel.session.name", "leave out '/'"),
        (16, "ifname = 'l2xw3000'", "tunnel.session.ifname", "the name of a device that l2xdp makes"),
        (17, "bridge = '..'", "tunnel.session.bridge", "reserved by the kernel"),
    ]);
}
