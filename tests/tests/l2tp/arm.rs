//! One gateway with all sessions, and all that can be seen of it: each pseudowire device, and the wire to its peer.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::process;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::frames::{Send as _, is_ours};
use l2xdp_tests::message::Injector;
use l2xdp_tests::packet::PacketSocket;
use l2xdp_tests::topology::Lab;

use crate::carrier::{Carrier, Counters, Running};
use crate::outer;
use crate::session::{Session, Tunnel};

/// A gateway in a lab of its own. Two of them have the same addresses, MACs included: all that differs is who carries.
pub struct Arm {
    pub running: Running,
    devices: BTreeMap<u8, PacketSocket>,
    wire: PacketSocket,
    injector: Injector,
    /// The peer says nothing, not even that its ports are closed.
    _mute: Vec<UdpSocket>,
    lab: Lab,
}

/// The labs of this program; its process id follows.
pub const PREFIX: &str = "l2xdp-vm";

const MACS: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
const LIMIT: Duration = Duration::from_secs(1);

impl Arm {
    /// With this carrier at work.
    pub fn build(carrier: Carrier) -> Result<Self> {
        let name = &carrier.name()[..1];
        let lab = Lab::build_silent(&format!("{PREFIX}{}{name}", process::id()))?;
        lab.tun01.set("ipv6/conf/default/disable_ipv6", "1")?;
        lab.tun01.run(&format!("ip link set eth0 address {}", MACS[0]))?;
        lab.inet.run(&format!("ip link set eth1 address {}", MACS[1]))?;
        let mute = Tunnel::ALL.map(|tunnel| lab.tun02.enter(|| Ok(UdpSocket::bind(tunnel.peer())?)));
        let running = carrier.start(&lab).with_context(|| format!("{} does not start", carrier.name()))?;
        let sessions = Tunnel::ALL.into_iter().flat_map(Tunnel::sessions);
        let device =
            |session: Session| Ok((session.number, PacketSocket::open(&lab.tun01, &session.device())?));
        Ok(Self {
            running,
            devices: sessions.map(device).collect::<Result<_>>()?,
            wire: PacketSocket::open(&lab.inet, "eth1")?,
            injector: Injector::open(&lab.inet, "eth1", &lab.tun01, "eth0")?,
            _mute: mute.into_iter().collect::<Result<_>>()?,
            lab,
        })
    }

    /// Ends what carries, in order.
    pub fn take_down(self) -> Result<()> {
        self.running.stop()
    }

    /// Has a session send a frame.
    pub fn send(&self, session: &Session, frame: &[u8]) -> Result<()> {
        self.device(session)?.send(frame)
    }

    /// The packet that left for the peer, or its fragments, from the Ethernet header on.
    pub fn sent(&self) -> Result<Vec<Vec<u8>>> {
        let mut packets = Vec::new();
        loop {
            let Some(packet) = self.wire.receive(LIMIT, outer::is_outer)? else {
                ensure!(packets.is_empty(), "a fragment is missing");
                return Ok(packets);
            };
            let more = outer::more_follow(&packet);
            packets.push(packet);
            if !more {
                return Ok(packets);
            }
        }
    }

    /// Has a packet come in from the WAN.
    pub fn inject(&self, packet: &[u8]) -> Result<()> {
        self.injector.send(packet)
    }

    /// The frames that came out of a session and were not asked for yet.
    pub fn delivered(&self, session: &Session) -> Result<Vec<Vec<u8>>> {
        let device = self.device(session)?;
        let mut frames = Vec::new();
        while let Some(frame) = device.receive(Duration::ZERO, is_ours)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    /// Which packets left for the peer unasked.
    pub fn nothing_sent(&self) -> Result<()> {
        let stranger = self.wire.receive(Duration::from_millis(20), outer::is_outer)?;
        ensure!(stranger.is_none(), "{} sends too much: {stranger:02x?}", self.running.carrier().name());
        Ok(())
    }

    /// What the carrier has counted of sessions, in their order.
    pub fn counters(&self, sessions: &[Session]) -> Result<Vec<Counters>> {
        self.running.counters(&self.lab, sessions)
    }

    /// How many frames of a session the fast path has sent and received, if there is one.
    pub fn fast(&self, session: &Session) -> Result<Option<[u64; 2]>> {
        self.running.fast(&self.lab, session)
    }

    fn device(&self, session: &Session) -> Result<&PacketSocket> {
        self.devices.get(&session.number).context("a session without a device")
    }
}
