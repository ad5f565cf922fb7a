//! All of a namespace that a run of l2xdp may change, to be the same afterwards.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::bpf;
use crate::command::{self, SOON};
use crate::netns::Namespace;

/// What was where.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<String, String>);

/// Of a device, what does not change by itself.
const OF_A_DEVICE: [&str; 8] =
    ["ifindex", "mtu", "master", "address", "ifalias", "promiscuity", "xdp", "gso_max_segs"];
const OF_ALL: [&str; 7] = [
    "tc qdisc show",
    "ip route show",
    "ip -6 route show",
    "ip l2tp show tunnel",
    "ip l2tp show session",
    "ss -Hlun",
    "ss -Hlxn src @l2xdp",
];
/// The kernel may take back what it lent a little later.
const SETTLED: Duration = Duration::from_secs(1);

impl Snapshot {
    /// Of a namespace, now.
    pub fn of(namespace: &Namespace) -> Result<Self> {
        let mut things = BTreeMap::new();
        let listed = |words: &str| listed(namespace, words);
        for device in &listed("ip -j -d link show")? {
            let name = device["ifname"].as_str().context("a device without a name")?;
            for key in OF_A_DEVICE {
                things.insert(format!("{name}: {key}"), device[key].to_string());
            }
            for direction in ["ingress", "egress"] {
                let filters = format!("tc filter show dev {name} {direction}");
                things.insert(filters.clone(), printed(namespace, &filters)?);
            }
            things.insert(format!("{name}: TCX"), format!("{:?}", bpf::attached_by_tcx(namespace, name)?));
        }
        for neighbour in listed("ip -j -d neigh show nud all")? {
            let kept = neighbour.get("managed").is_some() || neighbour["state"][0] == "PERMANENT";
            things.extend(
                kept.then(|| (format!("neighbour {}", neighbour["dst"]), neighbour["dev"].to_string())),
            );
        }
        for command in OF_ALL {
            things.insert(command.to_owned(), printed(namespace, command)?);
        }
        Ok(Self(things))
    }

    /// An error that shows what is not as it was.
    pub fn is_still_that_of(&self, namespace: &Namespace) -> Result<()> {
        let start = Instant::now();
        loop {
            let now = Self::of(namespace)?;
            if now == *self {
                return Ok(());
            }
            if start.elapsed() > SETTLED {
                bail!("not everything is as it was:{}", self.changes(&now));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn changes(&self, now: &Self) -> String {
        let gone = self.0.iter().filter(|(key, value)| now.0.get(*key) != Some(*value));
        let come = now.0.iter().filter(|(key, value)| self.0.get(*key) != Some(*value));
        let lines = gone.map(|line| ("-", line)).chain(come.map(|line| ("+", line)));
        lines.map(|(sign, (key, value))| format!("\n  {sign} {key}: {}", value.trim())).collect()
    }
}

/// What a command prints, be it content or not: without clsact there are no filters to show, nor tunnels without L2TP.
fn printed(namespace: &Namespace, words: &str) -> Result<String> {
    let mut words = words.split(' ');
    let mut command = namespace.command(words.next().unwrap_or_default());
    let output = command::finish(command.args(words), SOON)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn listed(namespace: &Namespace, words: &str) -> Result<Vec<Value>> {
    let text = namespace.run(words)?;
    serde_json::from_str(&text).with_context(|| format!("{words} printed no list: {text}"))
}
