//! Another configuration for a running daemon, by SIGHUP.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use l2xdp_tests::command;
use l2xdp_tests::daemon::Gateways;
use l2xdp_tests::topology::Lab;
use l2xdp_tests::wire::{Attach, Side, Wire};
use libtest_mimic::Trial;

use crate::bench::{self, Bench, Kind};
use crate::frames::{self, carried};
use crate::packet::PacketSocket;
use crate::traffic::{Pair, until_answered};
use l2xdp_tests::snapshot::Snapshot;

const AT_START: Duration = Duration::from_secs(4);

/// Good configurations and others.
pub fn trials() -> Vec<Trial> {
    vec![
        bench::trial("reload/changes", Kind::Own, changes),
        bench::trial("reload/refused", Kind::Own, refused),
    ]
}

/// The first session, which bridges the hosts and is never touched, and others beside it.
fn config(side: Side, others: &[Other]) -> String {
    let first = Wire::new(Attach::Netdev).config(side);
    others.iter().fold(first, |text, other| text + &other.session(side))
}

/// A session beside the first, on a device of its own.
#[derive(Clone, Copy)]
struct Other {
    number: u32,
    /// More of the configuration.
    options: &'static str,
}

impl Other {
    fn session(&self, side: Side) -> String {
        let Self { number, options } = self;
        let (here, there) = (side.session_id() + number, side.other().session_id() + number);
        format!(
            "[[tunnel.session]]\nsession_id = {here}\npeer_session_id = {there}\nnetdev = \"{}\"\n{options}\n",
            self.device()
        )
    }

    fn device(&self) -> String {
        format!("l2x{}", self.number)
    }

    /// A frame each way arrives.
    fn carries(&self, lab: &Lab) -> Result<()> {
        let [one, two] = Side::BOTH.map(|side| PacketSocket::open(lab.gateway(side), &self.device()));
        let (one, two) = (one?, two?);
        let frames = [frames::length(60), frames::length(1000)];
        carried(&one, &two, &frames)
            .and_then(|()| carried(&two, &one, &frames))
            .with_context(|| self.device())
    }
}

/// Changed, added and removed sessions do not disturb the one beside them.
fn changes(bench: &Bench) -> Result<()> {
    const COOKIES: &str = "cookie = \"01020304\"\npeer_cookie = \"01020304\"";
    const BRIDGED: &str = "cookie = \"01020304\"\npeer_cookie = \"01020304\"\nmtu = 1300\nbridge = \"br1\"";
    let lab = &bench.lab;
    for side in Side::BOTH {
        lab.add_bridge(side)?;
        lab.gateway(side).run("ip link add br1 address 02:00:00:00:00:b1 type bridge")?;
    }
    let before = Snapshot::of(&lab.tun01)?;
    let [plain, cookies, bridged] = ["", COOKIES, BRIDGED].map(|options| Other { number: 1, options });
    let added = Other { number: 2, options: "" };
    let config_at_start = |side| config(side, &[plain]);
    let mut gateways = Gateways::with(lab, &bench.loader, "auto", config_at_start)?;
    while_pinging(lab, || {
        plain.carries(lab)?;
        for others in [[cookies].as_slice(), &[bridged], &[bridged, added], &[added]] {
            for side in Side::BOTH {
                gateways.daemon_mut(side).reload(&config(side, others), "reloaded")?;
            }
            others.iter().try_for_each(|other| other.carries(lab))?;
            let device = lab.tun01.run("ip link show l2x1");
            if others[0].number != 1 {
                ensure!(device.is_err(), "l2x1 is still there");
            } else if others[0].options == BRIDGED {
                let device = device?;
                ensure!(device.contains("mtu 1300 ") && device.contains("master br1 "), "{device}");
            }
        }
        Ok(())
    })?;
    gateways.stop()?;
    before.is_still_that_of(&lab.tun01)
}

/// What is wrong is named in the log, and everything is as it was.
fn refused(bench: &Bench) -> Result<()> {
    let lab = &bench.lab;
    Side::BOTH.into_iter().try_for_each(|side| lab.add_bridge(side))?;
    let before = Snapshot::of(&lab.tun01)?;
    let mut gateways = Gateways::start(lab, &bench.loader, &Wire::new(Attach::Netdev))?;
    until_answered(Pair::v4(lab, Side::One)?, AT_START)?;
    let running = Snapshot::of(&lab.tun01)?;
    let good = config(Side::One, &[]);
    let added = Other { number: 1, options: "" };
    let bridged = Other { number: 2, options: "bridge = \"br9\"" };
    let cases = [
        (good.replace("udp_sport = 6000", "udp_sport = 0"), vec![".toml:7:13", "tunnel.udp_sport"]),
        (config(Side::One, &[added, bridged]), vec!["session 3002", "bridge = \"br9\"", "no such interface"]),
        (good.replace("br0", "br9"), vec!["session 3000", "bridge = \"br9\"", "no such interface"]),
        (good.replace("1.1.1.2", "1.1.1.9"), vec!["tunnel 1000", "1.1.1.9", "not an address of this host"]),
        (good.replace("standalone", "kernel"), vec!["tunnel 1000", "no L2TP", "modprobe l2tp_eth"]),
    ];
    while_pinging(lab, || {
        for (config, says) in &cases {
            let told =
                gateways.daemon_mut(Side::One).reload(config, "the configuration as it was runs on")?;
            for word in says {
                ensure!(told.contains(word), "it does not say “{word}”: {told}");
            }
            running.is_still_that_of(&lab.tun01).with_context(|| told)?;
        }
        // The way is still free for a good one.
        gateways.daemon_mut(Side::One).reload(&config(Side::One, &[added]), "reloaded").map(drop)
    })?;
    gateways.stop()?;
    before.is_still_that_of(&lab.tun01)
}

/// Does something while one host pings the other, which must answer every time and once.
fn while_pinging(lab: &Lab, action: impl FnOnce() -> Result<()>) -> Result<()> {
    let pair = Pair::v4(lab, Side::One)?;
    until_answered(pair, AT_START)?;
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let pings = scope.spawn(|| -> Result<u32> {
            let mut rounds = 0;
            while !enough.load(Ordering::Relaxed) {
                let mut ping = pair.from.command("ping");
                ping.args(["-n", "-q", "-i", "0.005", "-c", "50", "-W", "1", &pair.to_address.to_string()]);
                let text = command::run(&mut ping, Duration::from_secs(10))?;
                ensure!(text.contains("50 received, 0% packet loss") && !text.contains("DUP"), "{text}");
                rounds += 1;
            }
            Ok(rounds)
        });
        let done = action();
        enough.store(true, Ordering::Relaxed);
        let pinged = pings.join().map_err(|_| anyhow!("ping panicked"))?.context("meanwhile")?;
        ensure!(pinged > 0, "nobody pinged");
        done
    })
}
