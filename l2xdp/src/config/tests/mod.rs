//! What the configuration accepts, and what it says about the rest.

mod accepted;
mod conflicts;
mod document;
mod file;
mod many;
mod refused_keys;
mod refused_values;
mod rendered;

use super::{Config, Problem, render};

/// The sample of the README, every line at a known place.
const SAMPLE: &str = r#"[[tunnel]]
tunnel_id = 1000
peer_tunnel_id = 2000
encap = "udp"
local = "1.1.1.2"
remote = "2.2.2.2"
udp_sport = 6000
udp_dport = 5000

[[tunnel.session]]
session_id = 3000
peer_session_id = 4000
cookie = "0123456789abcdef"
peer_cookie = "fedcba9876543210"
l2spec_type = "default"
netdev = "l2x0"
bridge = "br0"
mtu = "auto"
mss = "auto"
"#;

/// The sample with one line replaced; lines count from 1.
fn with_line(line: usize, text: &str) -> String {
    let mut lines: Vec<_> = SAMPLE.lines().collect();
    lines[line - 1] = text;
    lines.join("\n")
}

/// What a text is read as. Whatever is accepted must survive being written and read again.
fn accept(text: &str) -> Config {
    let config = parse(text);
    let rendered = render(&config);
    assert_eq!(parse(&rendered), config, "read:\n{text}\nwritten:\n{rendered}");
    config
}

fn parse(text: &str) -> Config {
    Config::parse("l2xdp.toml", text).unwrap_or_else(|error| panic!("refused:\n{error}\nin:\n{text}"))
}

fn problems(text: &str) -> Vec<Problem> {
    match Config::parse("l2xdp.toml", text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error.problems().to_vec(),
    }
}

/// A text with IPv6 addresses in place of the sample's.
fn ipv6(text: &str) -> String {
    text.replace("1.1.1.2", "2001:db8::1").replace("2.2.2.2", "fd00::2")
}

/// The sample over IP, which its line 4 says, without the two lines of ports.
fn over_ip() -> String {
    with_line(4, "encap = \"ip\"").replace("udp_sport = 6000\nudp_dport = 5000\n", "")
}

/// Asserts that a text has one problem: at this line, about this key, with these words.
fn assert_refused(text: &str, line: usize, key: &str, words: &str) {
    let problems = problems(text);
    let [problem] = problems.as_slice() else { panic!("not one problem: {problems:#?}\nin:\n{text}") };
    let found = (problem.position.map(|position| position.line), problem.key.as_deref());
    assert_eq!(found, (Some(line), Some(key)), "{problem:?}\nin:\n{text}");
    assert!(problem.message.contains(words), "{words:?} is not in: {}", problem.message);
}
