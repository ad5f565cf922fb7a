//! Many sessions take time in proportion to their number, right or wrong.

use super::{SAMPLE, parse, problems};
use std::fmt::Write;
use std::time::{Duration, Instant};

const SESSIONS: usize = 20_000;

/// Many times what a debug build takes, and a small part of what it takes to search all sessions for each.
const BOUND: Duration = Duration::from_secs(60);

/// A file of so many sessions, each with lines of its own.
fn text(of_session: impl Fn(usize) -> String) -> String {
    let (tunnel, _) = SAMPLE.split_once("[[tunnel.session]]").unwrap();
    let mut text = tunnel.to_owned();
    for number in 1..=SESSIONS {
        let own = of_session(number);
        writeln!(text, "[[tunnel.session]]\nsession_id = {number}\npeer_session_id = {number}\n{own}")
            .unwrap();
    }
    text
}

fn within_bound<T>(check: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = check();
    assert!(start.elapsed() < BOUND, "{:?} for {SESSIONS} sessions", start.elapsed());
    result
}

#[test]
fn devices_on_one_bridge() {
    let text = text(|number| format!("netdev = \"l2x{number}\"\nbridge = \"br0\""));
    let config = within_bound(|| parse(&text));
    assert_eq!(config.tunnels[0].sessions.len(), SESSIONS);
}

#[test]
fn vlans_of_ports() {
    let text = text(|number| format!("port = \"eth{}\"\nvlan = {}", number / 4094, number % 4094 + 1));
    within_bound(|| parse(&text));
}

#[test]
fn each_with_a_problem() {
    let text = text(|_| "netdev = \"l2x0\"".to_owned());
    let problems = within_bound(|| problems(&text));
    assert_eq!(problems.len(), SESSIONS - 1, "all but the first claim what the first has");
    let last = problems.last().and_then(|problem| problem.position).unwrap();
    assert_eq!(last.line, text.lines().count());
}
