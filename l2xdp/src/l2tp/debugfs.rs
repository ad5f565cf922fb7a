//! What debugfs tells of sessions that generic netlink does not (`net/l2tp/l2tp_debugfs.c`).

use crate::reconcile::SessionKey;
use l2xdp_common::pseudowire::L2Spec;
use std::collections::HashMap;
use std::fs;

/// What debugfs tells of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Its sublayer.
    pub l2spec: Option<L2Spec>,
    /// The name that its device has now.
    pub device: Option<String>,
}

/// Of this thread's network namespace; nothing where debugfs is not mounted, has no file of L2TP's, or is locked
/// (`lockdown`).
pub(super) fn read() -> Option<HashMap<SessionKey, Told>> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let debugfs = mounts.find(|mount| mount.get(2) == Some(&"debugfs"))?;
    let text = fs::read_to_string(format!("{}/l2tp/tunnels", debugfs.get(1)?)).ok()?;
    Some(sessions(&text))
}

fn sessions(text: &str) -> HashMap<SessionKey, Told> {
    let mut sessions: HashMap<_, Told> = HashMap::new();
    let (mut tunnel, mut session) = (None, None);
    for line in text.lines() {
        let words: Vec<_> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            ["TUNNEL", id, "peer", ..] => (tunnel, session) = (id.parse().ok(), None),
            ["SESSION", id, "peer", ..] => session = id.parse().ok(),
            _ => {}
        }
        let Some(key) = tunnel.zip(session) else { continue };
        let told = sessions.entry(key).or_default();
        match words.as_slice() {
            // Type and length.
            ["offset", _, "l2specific", "0/0"] => told.l2spec = Some(L2Spec::None),
            ["offset", _, "l2specific", "1/4"] => told.l2spec = Some(L2Spec::Default),
            // A session of ppp that has no device says so.
            ["interface", "(null)"] => {}
            ["interface", name] => told.device = Some((*name).to_owned()),
            _ => {}
        }
    }
    sessions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.1 and 7.3 print it.
    const SAMPLE: &str = "TUNNEL ID, peer ID from IP to IP
 L2TPv2/L2TPv3, UDP/IP
 sessions session-count, refcnt refcnt/sk->refcnt
 debug tx-pkts/bytes/errs rx-pkts/bytes/errs
  SESSION ID, peer ID, PWTYPE
   refcnt cnt
   offset OFFSET l2specific TYPE/LEN
   [ cookie ]
   [ peer cookie ]
   config mtu/mru/rcvseq/sendseq/dataseq/lns debug reorderto
   nr/ns tx-pkts/bytes/errs rx-pkts/bytes/errs

TUNNEL 1000 peer 2000 from 1.1.1.2 to 1.1.1.3
 source port 6000, dest port 5000
 L2TPv3, UDP
 2 sessions, refcnt 3/4
 00000000 rx 0/0/0 rx 0/0/0
  SESSION 3001, peer 4001, ETH
   refcnt 2
   config 0/0/-/-/-/LAC 00000000 0
   offset 0 l2specific 0/0
   0/0 tx 0/0/0 rx 0/0/0
   interface foo
  SESSION 3000, peer 4000, ETH
   refcnt 2
   config 0/0/-/-/-/LAC 00000000 0
   offset 0 l2specific 1/4
   cookie 0011223344556677
   0/0 tx 0/0/0 rx 0/0/0
   interface l2tpeth0
TUNNEL 7 peer 8 from 2001:db8::1 to 2001:db8::2
 L2TPv3, IP
 1 sessions, refcnt 2/3
  SESSION 3000, peer 9, ETH
   offset 0 l2specific 2/4

TUNNEL 77 peer 78 from 10.0.0.1 to 10.0.0.9
 source port 1701, dest port 1701
 L2TPv2, UDP
 1 sessions, refcnt 3/4
 00000000 tx 0/0/0 rx 0/0/0
  SESSION 771, peer 772, PPP
   refcnt 3
   config 0/0/-/-/-/LAC 00000000 0
   offset 0 l2specific 0/0
   0/0 tx 0/0/0 rx 0/0/0
   interface (null)
";

    #[test]
    fn sublayers_and_devices_of_all_sessions() {
        let told = |l2spec, device: Option<&str>| Told { l2spec, device: device.map(str::to_owned) };
        let expected = [
            ((1000, 3001), told(Some(L2Spec::None), Some("foo"))),
            ((1000, 3000), told(Some(L2Spec::Default), Some("l2tpeth0"))),
            ((7, 3000), told(None, None)),
            ((77, 771), told(Some(L2Spec::None), None)),
        ];
        assert_eq!(sessions(SAMPLE), expected.into());
        assert!(sessions("").is_empty());
    }
}
