//! The programs' maps, each behind a typed look-up.

use aya_ebpf::bindings::{__sk_buff, BPF_F_CURRENT_CPU};
use aya_ebpf::helpers::bpf_perf_event_output;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, PerCpuArray, PerfEventArray};
use bytemuck::Zeroable;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use l2xdp_common::counters::SessionCounters;
use l2xdp_common::session::ROWS;
use l2xdp_common::wire::{Be16, Be32};
use l2xdp_common::{
    AttachKey, Attachments, Delivery, Reason, RxRow, RxSession, Sessions, SlowFrame, TxRow, TxSession,
};

/// Where frames come in → how to send them. The loader sets its size.
#[map]
static TX_SESSIONS: HashMap<AttachKey, TxSession> = HashMap::with_max_entries(1, 0);

/// Our session id, in network order → how to receive. The loader sets its size.
#[map]
static RX_SESSIONS: HashMap<[u8; 4], RxSession> = HashMap::with_max_entries(1, 0);

/// For devices one of whose sessions takes every frame → that session, in the device's row. The loader writes them.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.tx_rows")]
static TX_ROWS: Rows<TxRow> = Rows::new();

/// For our session ids → the session, in the id's row. The loader writes them.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".bss.rx_rows")]
static RX_ROWS: Rows<RxRow> = Rows::new();

/// A map of one value, whose address is a constant of the program: a look-up without a call.
#[repr(transparent)]
struct Rows<T>(UnsafeCell<MaybeUninit<[T; ROWS as usize]>>);

// SAFETY: no program writes it, and the loader writes no row that a program may have found.
unsafe impl<T> Sync for Rows<T> {}

impl<T: Zeroable> Rows<T> {
    const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::zeroed()))
    }
}

/// A row of a static. The compiler must not know which it is: nothing here writes it, and so it would be taken for zeros.
macro_rules! row {
    ($rows:ident, $index:expr) => {{
        let rows: *const [_; ROWS as usize];
        // SAFETY: the address of a valid static.
        unsafe { asm!("{} = {} ll", out(reg) rows, sym $rows, options(pure, nomem, nostack, preserves_flags)) };
        row_at(&$rows, rows, $index)
    }};
}

#[inline(always)]
fn row_at<T>(_: &'static Rows<T>, rows: *const [T; ROWS as usize], index: u32) -> &'static T {
    let row = rows.cast::<T>().wrapping_add((index % ROWS) as usize);
    // SAFETY: the remainder is less than the rows are, and any bytes are a row.
    unsafe { &*row }
}

/// UDP ports of our tunnels, in network order. The loader sets its size.
#[map]
static TUNNEL_PORTS: HashMap<[u8; 2], u8> = HashMap::with_max_entries(1, 0);

/// A device → where TC hands on what comes in there. The loader sets its size.
#[map]
static DELIVERIES: HashMap<u32, Delivery> = HashMap::with_max_entries(1, 0);

/// A CPU → frames that user space is to send.
#[map]
static SLOW_PATH: PerfEventArray<SlowFrame> = PerfEventArray::new(0);

/// A session's slot → its counters. The loader sets its size.
#[map]
static COUNTERS: PerCpuArray<SessionCounters> = PerCpuArray::with_max_entries(1, 0);

/// [`Reason`] → packets.
#[map]
static REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Reason::ALL.len() as u32, 0);

/// The device that splits super-packets, set by the loader.
#[unsafe(no_mangle)]
static SPLIT_IFINDEX: u32 = 0;

/// The device that splits super-packets.
#[inline(always)]
pub fn split_ifindex() -> u32 {
    // SAFETY: a valid static. Volatile, because the loader writes it before the program runs.
    unsafe { core::ptr::read_volatile(&raw const SPLIT_IFINDEX) }
}

/// Room to copy a piece of a frame to, for its checksum.
#[map]
static SCRATCH: PerCpuArray<Piece> = PerCpuArray::with_max_entries(1, 0);

/// A piece of a frame.
#[repr(C, align(8))]
pub struct Piece {
    bytes: [u8; Self::LEN + 4],
}

impl Piece {
    /// The most `bpf_csum_diff` takes at once before Linux 6.13, in bytes. A word more can be written.
    pub const LEN: usize = 512;
}

/// This CPU's piece.
#[inline(always)]
pub fn scratch() -> Option<*mut Piece> {
    SCRATCH.get_ptr_mut(0)
}

/// The maps the packet logic looks things up in.
pub struct Maps;

impl Attachments for Maps {
    #[inline(always)]
    fn tx(&self, key: AttachKey) -> Option<&TxSession> {
        // SAFETY: entries are replaced as a whole and freed after a grace period; the programs never write them.
        unsafe { TX_SESSIONS.get(key) }
    }
}

impl Sessions for Maps {
    #[inline(always)]
    fn rx(&self, session_id: Be32) -> Option<&RxSession> {
        // SAFETY: as above.
        unsafe { RX_SESSIONS.get(session_id.0) }
    }

    #[inline(always)]
    fn is_tunnel_port(&self, port: Be16) -> bool {
        TUNNEL_PORTS.get_ptr(port.0).is_some()
    }
}

/// The session that takes every frame of a device, if it has the device's row. This costs a fraction of asking the hash
/// table. Devices, and ids, that are as many as the rows apart share one, which one of them has.
#[inline(always)]
pub fn tx_row(ifindex: u32) -> Option<&'static TxSession> {
    let row: &TxRow = row!(TX_ROWS, TxRow::index(ifindex));
    (row.ifindex == ifindex).then_some(&row.session)
}

/// The session with this id of ours, if it has the id's row.
#[inline(always)]
pub fn rx_row(session_id: Be32) -> Option<&'static RxSession> {
    let row: &RxRow = row!(RX_ROWS, RxRow::index(session_id.get()));
    (row.session_id == session_id.get()).then_some(&row.session)
}

/// Where TC hands on what comes in on a device.
#[inline(always)]
pub fn delivery(ifindex: u32) -> Option<&'static Delivery> {
    // SAFETY: as above.
    unsafe { DELIVERIES.get(ifindex) }
}

/// Gives a frame to user space.
///
/// # Errors
/// [`Reason::SlowFull`] if nobody reads, or not fast enough.
#[inline(always)]
pub fn to_user_space(skb: *mut __sk_buff, mut frame: SlowFrame) -> Result<(), Reason> {
    // That many of the frame's bytes are to follow (BPF_F_CTXLEN_MASK).
    let flags = u64::from(frame.len) << 32 | BPF_F_CURRENT_CPU;
    let (map, size) = (&raw const SLOW_PATH, size_of::<SlowFrame>() as u64);
    // SAFETY: a map, and plain data of this size. Not `PerfEventArray::output`, which keeps errors to itself.
    let error = unsafe {
        bpf_perf_event_output(skb.cast(), map.cast_mut().cast(), flags, (&raw mut frame).cast(), size)
    };
    if error != 0 { Err(Reason::SlowFull) } else { Ok(()) }
}

/// Counts a frame that was encapsulated.
#[inline(always)]
pub fn count_tx(slot: u32, packets: u32, bytes: usize) {
    if let Some(counters) = counters(slot) {
        counters.tx_packets += u64::from(packets);
        counters.tx_bytes += bytes as u64;
    }
}

/// Counts a frame that could not be.
#[inline(always)]
pub fn count_tx_error(slot: u32) {
    if let Some(counters) = counters(slot) {
        counters.tx_errors += 1;
    }
}

/// Counts a frame that was decapsulated.
#[inline(always)]
pub fn count_rx(slot: u32, bytes: usize) {
    if let Some(counters) = counters(slot) {
        counters.rx_packets += 1;
        counters.rx_bytes += bytes as u64;
    }
}

/// Counts a message that was dropped.
#[inline(always)]
pub fn count_rx_error(slot: u32, reason: Reason) {
    if let Some(counters) = counters(slot) {
        counters.rx_errors += 1;
        counters.rx_cookie_discards += u64::from(reason == Reason::Cookie);
    }
}

/// Counts a packet that left the fast path.
#[inline(always)]
pub fn count_reason(reason: Reason) {
    if let Some(count) = REASONS.get_ptr_mut(reason as u32) {
        // SAFETY: this CPU's own value; the program can't be interrupted by another run of itself.
        unsafe { *count += 1 };
    }
}

#[inline(always)]
fn counters(slot: u32) -> Option<&'static mut SessionCounters> {
    // SAFETY: this CPU's own value, and no two of these references live at once.
    COUNTERS.get_ptr_mut(slot).map(|counters| unsafe { &mut *counters })
}
