//! The loaded programs and their maps, behind the types of [`l2xdp_common`].

use crate::rows::Rows;
use crate::sys;
use anyhow::{Context, Result, anyhow};
use aya::maps::{Array, HashMap as BpfHashMap, MapData, MapError, PerCpuArray, PerCpuValues, PerfEventArray};
use aya::programs::{Program, SchedClassifier, Xdp};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader, Pod};
use l2xdp_common::counters::SessionCounters;
use l2xdp_common::{AttachKey, Delivery, Reason, RxRow, RxSession, TxRow, TxSession};
use std::io;

/// The compiled programs.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/l2xdp-ebpf"));

/// A program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProgramName {
    /// XDP on a port.
    XdpEncap,
    /// XDP on a WAN device.
    XdpDecap,
    /// TC on a port or a pseudowire's device.
    TcEncap,
    /// TC on a WAN device.
    TcDecap,
    /// TC on the splitter's far end.
    TcSplit,
    /// TC on a device that frames come in on only to be handed on.
    TcDeliver,
}

impl ProgramName {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::XdpEncap, Self::XdpDecap, Self::TcEncap, Self::TcDecap, Self::TcSplit, Self::TcDeliver];

    /// Does it receive?
    pub const fn decapsulates(self) -> bool {
        matches!(self, Self::XdpDecap | Self::TcDecap)
    }

    /// Does it see packets only that another of our programs has sent on?
    pub const fn is_inner(self) -> bool {
        matches!(self, Self::TcSplit | Self::TcDeliver)
    }

    /// As the kernel shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XdpEncap => "xdp_encap",
            Self::XdpDecap => "xdp_decap",
            Self::TcEncap => "tc_encap",
            Self::TcDecap => "tc_decap",
            Self::TcSplit => "tc_split",
            Self::TcDeliver => "tc_deliver",
        }
    }
}

/// How many of everything the maps have room for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions.
    pub sessions: u32,
    /// UDP ports of tunnels.
    pub ports: u32,
}

/// A map's key or value: any plain data.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Plain<T>(pub T);

// SAFETY: `bytemuck::Pod` promises more than aya asks: any bytes are a `T`, it has no padding and no pointers.
unsafe impl<T: bytemuck::Pod> Pod for Plain<T> {}

/// The programs, loaded, and their maps.
pub struct Datapath {
    ebpf: Ebpf,
    tx: BpfHashMap<MapData, Plain<AttachKey>, Plain<TxSession>>,
    rx: BpfHashMap<MapData, [u8; 4], Plain<RxSession>>,
    tx_rows: Rows<TxRow>,
    rx_rows: Rows<RxRow>,
    ports: BpfHashMap<MapData, [u8; 2], u8>,
    deliveries: BpfHashMap<MapData, u32, Plain<Delivery>>,
    counters: PerCpuArray<MapData, Plain<SessionCounters>>,
    reasons: PerCpuArray<MapData, u64>,
    room: u32,
}

impl Datapath {
    /// Loads all programs into the kernel; nothing is attached. Super-packets will be sent out of the device
    /// `split_ifindex` to be split. With `trace`, every packet that leaves the fast path can be
    /// [logged](crate::trace).
    ///
    /// # Errors
    /// What the kernel refused, with the verifier's last words.
    pub fn load(limits: Limits, split_ifindex: u32, trace: bool) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("TX_SESSIONS", limits.sessions.max(1))
            .map_max_entries("RX_SESSIONS", limits.sessions.max(1))
            .map_max_entries("DELIVERIES", limits.sessions.max(1))
            .map_max_entries("COUNTERS", limits.sessions.max(1))
            .map_max_entries("TUNNEL_PORTS", limits.ports.max(1))
            .override_global("SPLIT_IFINDEX", &split_ifindex, true)
            .override_global(aya_log::LEVEL, &if trace { log::Level::Debug as u8 } else { 0 }, true)
            .load(OBJECT)
            .context("can't load the eBPF object; l2xdp doctor tells what this kernel lacks")?;
        for name in ProgramName::ALL {
            let program = ebpf.program_mut(name.as_str()).context("program missing from the object")?;
            match program {
                Program::Xdp(xdp) => xdp.load(),
                Program::SchedClassifier(tc) => tc.load(),
                _ => return Err(anyhow!("{}: unexpected type", name.as_str())),
            }
            .with_context(|| format!("the kernel refused program {}", name.as_str()))?;
        }
        let mut take = |name: &str| ebpf.take_map(name).with_context(|| format!("map {name} missing"));
        Ok(Self {
            tx: BpfHashMap::try_from(take("TX_SESSIONS")?)?,
            rx: BpfHashMap::try_from(take("RX_SESSIONS")?)?,
            tx_rows: Rows::new(Array::try_from(take(".bss.tx_rows")?)?)?,
            rx_rows: Rows::new(Array::try_from(take(".bss.rx_rows")?)?)?,
            ports: BpfHashMap::try_from(take("TUNNEL_PORTS")?)?,
            deliveries: BpfHashMap::try_from(take("DELIVERIES")?)?,
            counters: PerCpuArray::try_from(take("COUNTERS")?)?,
            reasons: PerCpuArray::try_from(take("REASONS")?)?,
            room: limits.sessions,
            ebpf,
        })
    }

    /// The programs, for what is not wrapped here.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// An XDP program.
    ///
    /// # Errors
    /// If `name` is not one.
    pub fn xdp(&mut self, name: ProgramName) -> Result<&mut Xdp> {
        let program = self.ebpf.program_mut(name.as_str()).context("no such program")?;
        Ok(program.try_into()?)
    }

    /// A TC program.
    ///
    /// # Errors
    /// If `name` is not one.
    pub fn tc(&mut self, name: ProgramName) -> Result<&mut SchedClassifier> {
        let program = self.ebpf.program_mut(name.as_str()).context("no such program")?;
        Ok(program.try_into()?)
    }

    /// Sets how frames from somewhere are sent. [`publish`](Self::publish) makes it quicker.
    ///
    /// # Errors
    /// The kernel's, a full map among them.
    pub fn set_tx(&mut self, key: &AttachKey, session: &TxSession) -> Result<()> {
        if key.vlan == AttachKey::ALL_VLANS {
            self.tx_rows.set(TxRow { ifindex: key.ifindex, session: *session })?;
        }
        let result = self.tx.insert(Plain(*key), Plain(*session), 0);
        result.with_context(|| format!("map TX_SESSIONS: {}", sys::interface_name(key.ifindex)))
    }

    /// Sends frames from somewhere no more.
    ///
    /// # Errors
    /// The kernel's; none if they were not sent anyway.
    pub fn remove_tx(&mut self, key: &AttachKey) -> Result<()> {
        if key.vlan == AttachKey::ALL_VLANS {
            self.tx_rows.remove(key.ifindex)?;
        }
        let result = self.tx.remove(&Plain(*key));
        gone(result).with_context(|| format!("map TX_SESSIONS: {}", sys::interface_name(key.ifindex)))
    }

    /// Sets how messages for a session of ours are received. [`publish`](Self::publish) makes it quicker.
    ///
    /// # Errors
    /// The kernel's, a full map among them.
    pub fn set_rx(&mut self, session_id: u32, session: &RxSession) -> Result<()> {
        self.rx_rows.set(RxRow { session_id, session: *session })?;
        let result = self.rx.insert(session_id.to_be_bytes(), Plain(*session), 0);
        result.with_context(|| format!("map RX_SESSIONS: session {session_id}"))
    }

    /// Receives messages for a session of ours no more.
    ///
    /// # Errors
    /// The kernel's; none if they were not received anyway.
    pub fn remove_rx(&mut self, session_id: u32) -> Result<()> {
        self.rx_rows.remove(session_id)?;
        let result = self.rx.remove(&session_id.to_be_bytes());
        gone(result).with_context(|| format!("map RX_SESSIONS: session {session_id}"))
    }

    /// Has XDP find what has been set without asking a hash table. May wait for some milliseconds.
    ///
    /// # Errors
    /// The kernel's.
    pub fn publish(&mut self) -> Result<()> {
        self.tx_rows.publish()?;
        self.rx_rows.publish()
    }

    /// Makes a UDP port one of our tunnels.
    ///
    /// # Errors
    /// The kernel's, a full map among them.
    pub fn add_port(&mut self, port: u16) -> Result<()> {
        self.ports.insert(port.to_be_bytes(), 1, 0).with_context(|| format!("map TUNNEL_PORTS: port {port}"))
    }

    /// Makes a UDP port one of our tunnels no more.
    ///
    /// # Errors
    /// The kernel's; none if it was not one anyway.
    pub fn remove_port(&mut self, port: u16) -> Result<()> {
        gone(self.ports.remove(&port.to_be_bytes())).with_context(|| format!("map TUNNEL_PORTS: port {port}"))
    }

    /// Sets where [`ProgramName::TcDeliver`] hands on what comes in on a device.
    ///
    /// # Errors
    /// The kernel's, a full map among them.
    pub fn set_delivery(&mut self, ifindex: u32, delivery: &Delivery) -> Result<()> {
        let result = self.deliveries.insert(ifindex, Plain(*delivery), 0);
        result.with_context(|| format!("map DELIVERIES: {}", sys::interface_name(ifindex)))
    }

    /// Hands on what comes in on a device no more.
    ///
    /// # Errors
    /// The kernel's; none if it was not handed on anyway.
    pub fn remove_delivery(&mut self, ifindex: u32) -> Result<()> {
        let result = self.deliveries.remove(&ifindex);
        gone(result).with_context(|| format!("map DELIVERIES: {}", sys::interface_name(ifindex)))
    }

    /// The frames that user space is to send: each a [`SlowFrame`](l2xdp_common::SlowFrame), then its bytes. Until all
    /// CPUs' queues are opened, frames are dropped as [`Reason::SlowFull`].
    ///
    /// # Errors
    /// If they were taken before.
    pub fn take_slow_path(&mut self) -> Result<PerfEventArray<MapData>> {
        let map = self.ebpf.take_map("SLOW_PATH").context("map SLOW_PATH: was taken before")?;
        Ok(PerfEventArray::try_from(map)?)
    }

    /// How many sessions there is room for.
    pub const fn room(&self) -> u32 {
        self.room
    }

    /// Has the counters of a slot begin again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn clear_counters(&mut self, slot: u32) -> Result<()> {
        let zeros = vec![Plain(SessionCounters::default()); nr_cpus().map_err(|(_, error)| error)?];
        let result = self.counters.set(slot, PerCpuValues::try_from(zeros)?, 0);
        result.with_context(|| format!("map COUNTERS: slot {slot}"))
    }

    /// A session's counters, all CPUs together.
    ///
    /// # Errors
    /// The kernel's; a slot that is not there.
    pub fn counters(&self, slot: u32) -> Result<SessionCounters> {
        let mut sum = SessionCounters::default();
        for cpu in self.counters.get(&slot, 0).with_context(|| format!("map COUNTERS: slot {slot}"))?.iter() {
            sum += &cpu.0;
        }
        Ok(sum)
    }

    /// The packets that left the fast path, all CPUs together, in the order of [`Reason::ALL`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn reasons(&self) -> Result<Vec<(Reason, u64)>> {
        let count = |reason: Reason| -> Result<u64> {
            Ok(self.reasons.get(&(reason as u32), 0).context("map REASONS")?.iter().sum())
        };
        Reason::ALL.iter().map(|&reason| Ok((reason, count(reason)?))).collect()
    }
}

/// An entry to be removed that was not there is as good as removed.
fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(MapError::KeyNotFound) => Ok(()),
        result => result,
    }
}
