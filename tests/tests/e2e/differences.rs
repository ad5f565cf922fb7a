//! Which counters of `l2xdp show --json` moved.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::daemon::Daemon;
use l2xdp_tests::netns::Namespace;
use serde_json::Value;

/// A watch on the counters of one daemon.
pub struct Differences<'a> {
    daemon: &'a Daemon,
    namespace: &'a Namespace,
    before: Counts,
}

/// By name: sessions' on the fast path as they are, `slow.NAME`, `socket.NAME` and `reason.NAME`; those of all sessions
/// and tunnels together.
type Counts = BTreeMap<String, u64>;

/// What says nothing about the packets of a test: neighbours are talking on the WAN, and TC does some work of XDP.
const ASIDE: [&str; 2] = ["reason.not_ours", "reason.to_tc"];
const SETTLED: Duration = Duration::from_millis(30);
const LIMIT: Duration = Duration::from_secs(2);

impl<'a> Differences<'a> {
    /// From now on.
    pub fn since(daemon: &'a Daemon, namespace: &'a Namespace) -> Result<Self> {
        Ok(Self { daemon, namespace, before: counts(daemon, namespace)? })
    }

    /// Exactly these counters have moved, and by so much. The next question is about what comes after.
    pub fn are(&mut self, expected: &[(&str, u64)]) -> Result<()> {
        let expected: Counts = expected.iter().map(|(name, by)| ((*name).to_owned(), *by)).collect();
        let start = Instant::now();
        // What has passed may take a moment to be counted, and what is too much as well.
        let mut moved = self.moved()?;
        while moved != expected && start.elapsed() < LIMIT {
            thread::sleep(SETTLED);
            moved = self.moved()?;
        }
        thread::sleep(SETTLED);
        moved = self.moved()?;
        self.before = counts(self.daemon, self.namespace)?;
        ensure!(moved == expected, "at {}, {moved:?} moved, not {expected:?}", self.namespace.name());
        Ok(())
    }

    /// This counter has moved by so much or more.
    pub fn moved_at_least(&self, name: &str, by: u64) -> Result<()> {
        let moved = self.moved()?;
        let enough = moved.get(name).is_some_and(|count| *count >= by);
        ensure!(enough, "at {}, {moved:?} moved, not {name} by {by}", self.namespace.name());
        Ok(())
    }

    /// How far this counter has moved.
    pub fn moved_by(&self, name: &str) -> Result<u64> {
        Ok(self.moved()?.get(name).copied().unwrap_or_default())
    }

    fn moved(&self) -> Result<Counts> {
        let mut moved = counts(self.daemon, self.namespace)?;
        for (name, count) in &mut moved {
            *count -= self.before.get(name).copied().unwrap_or_default();
        }
        moved.retain(|name, count| *count != 0 && !ASIDE.contains(&name.as_str()));
        Ok(moved)
    }
}

fn counts(daemon: &Daemon, namespace: &Namespace) -> Result<Counts> {
    let shown = daemon.show_json(namespace)?;
    let mut counts = Counts::new();
    let list = |name: &str| shown[name].as_array().cloned().with_context(|| format!("no {name} in {shown}"));
    for session in list("sessions")? {
        add(&mut counts, "", &session["fast"])?;
        add(&mut counts, "slow.", &session["slow"])?;
    }
    for tunnel in list("tunnels")? {
        add(&mut counts, "socket.", &tunnel["socket"])?;
    }
    add(&mut counts, "reason.", &shown["reasons"])?;
    Ok(counts)
}

fn add(counts: &mut Counts, prefix: &str, values: &Value) -> Result<()> {
    for (name, value) in values.as_object().with_context(|| format!("{values} should be counters"))? {
        let value = value.as_u64().with_context(|| format!("{name} is no number"))?;
        *counts.entry(format!("{prefix}{name}")).or_default() += value;
    }
    Ok(())
}
