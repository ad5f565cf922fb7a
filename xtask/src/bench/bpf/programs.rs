//! The programs that send on, send back and count.

use super::BATCH;
use super::array::{Count, SLOTS, Seen};
use super::assembler::*;
use super::parts::{KTIME_GET_NS, checked, send_out_of, words};

/// XDP that sends every IPv4 packet out of a device, with these MAC addresses before it, and lets others pass.
pub fn forwarder(macs: &[u8; 12], ifindex: u32) -> Vec<Instruction> {
    let mut forward = vec![load(HALF, 5, 2, 12), unless_equal(5, IPV4, 3 + 4)];
    forward.extend(words(macs));
    forward.extend(send_out_of(ifindex, 0));
    let mut program = checked(14, &forward);
    program.extend([set(0, PASS), EXIT]);
    program
}

/// TC that counts and drops UDP over IPv4, and lets others pass.
pub fn counter(count: &Count) -> Vec<Instruction> {
    let mut record = vec![load(WORD, 8, 6, SKB_LEN)];
    record.extend(recorded(count));
    record.extend([set(0, TC_SHOT), EXIT]);
    let rest = record.len() as i16;
    let select = [
        copy(6, 1),
        load(WORD, 0, 1, SKB_PROTOCOL),
        unless_equal(0, IPV4, 2 + rest),
        frame_byte(IP_PROTOCOL.into()),
        unless_equal(0, UDP, rest),
    ];
    [&select[..], &record, &[set(0, TC_UNSPEC), EXIT]].concat()
}

/// XDP that counts and drops UDP over IPv4, and drops others uncounted.
pub fn sink(count: &Count) -> Vec<Instruction> {
    for_udp(&dropped(count), DROP)
}

/// XDP that sends UDP to a port back out of its device, counts and drops other UDP over IPv4, and lets others pass.
///
/// By a redirect: what a veth is told to transmit (`XDP_TX`) stays in the queue unless the other end has XDP as well.
pub fn reflector(port: u16, ifindex: u32, count: &Count) -> Vec<Instruction> {
    let mut back = swapped(&[(WORD, 0, 6), (HALF, 4, 10), (WORD, 26, 30), (HALF, UDP_FROM, UDP_TO)]);
    back.extend(send_out_of(ifindex, 0));
    let select = [load(HALF, 5, 2, UDP_TO), unless_equal(5, port.to_be().into(), back.len() as i16)];
    for_udp(&[&select[..], &back, &dropped(count)].concat(), PASS)
}

/// Hands everything to a device. XDP: to be sent from there. TC: that, or as if it had come in there.
pub fn redirect(ifindex: u32, ingress: bool) -> Vec<Instruction> {
    send_out_of(ifindex, ingress.into())
}

// Helpers.
const GET_SMP_PROCESSOR_ID: i32 = 8;

// Verdicts.
const DROP: i32 = 1;
const PASS: i32 = 2;
const TC_SHOT: i32 = 2;
const TC_UNSPEC: i32 = -1;

// In `struct __sk_buff`.
const SKB_LEN: i16 = 0;
const SKB_PROTOCOL: i16 = 16;

// In a frame.
const IP_PROTOCOL: i16 = 23;
const UDP_FROM: i16 = 34;
const UDP_TO: i16 = 36;
/// ETH_P_IP, as it is read from a frame.
const IPV4: i32 = 0x0800_u16.to_be() as i32;
const UDP: i32 = 17;

/// Counts a frame from r2 to r3, and drops it.
fn dropped(count: &Count) -> Vec<Instruction> {
    let length = [copy(8, 3), subtract_register(8, 2)];
    [&length[..], &recorded(count), &[set(0, DROP), EXIT]].concat()
}

/// The body, in an XDP program, run on UDP over IPv4, and a verdict on all else.
fn for_udp(body: &[Instruction], otherwise: i32) -> Vec<Instruction> {
    let rest = body.len() as i16;
    let select = [
        load(HALF, 5, 2, 12),
        unless_equal(5, IPV4, 2 + rest),
        load(BYTE, 5, 2, IP_PROTOCOL),
        unless_equal(5, UDP, rest),
    ];
    let mut program = checked(42, &[&select[..], body].concat());
    program.extend([set(0, otherwise), EXIT]);
    program
}

/// Exchanges what is at r2, by size and places.
fn swapped(places: &[(u8, i16, i16)]) -> Vec<Instruction> {
    let swap = |&(size, one, other): &(u8, i16, i16)| {
        [load(size, 4, 2, one), load(size, 5, 2, other), store(size, 2, 5, one), store(size, 2, 4, other)]
    };
    places.iter().flat_map(swap).collect()
}

/// Counts a packet of r8 bytes. The time is taken once a batch, as that takes its time.
fn recorded(count: &Count) -> Vec<Instruction> {
    let [low, high] = value_of(7, count.array());
    let slot = size_of::<Seen>().ilog2();
    vec![
        call(GET_SMP_PROCESSOR_ID),
        and(0, SLOTS as i32 - 1),
        shift_left(0, slot as i32),
        low,
        high,
        add_register(7, 0),
        load(DOUBLE, 1, 7, 8),
        add_register(1, 8),
        store(DOUBLE, 7, 1, 8),
        load(DOUBLE, 9, 7, 0),
        add(9, 1),
        store(DOUBLE, 7, 9, 0),
        copy(1, 9),
        and(1, BATCH as i32 - 1),
        unless_equal(1, 0, 4),
        call(KTIME_GET_NS),
        store(DOUBLE, 7, 0, 24),
        unless_equal(9, BATCH as i32, 1),
        store(DOUBLE, 7, 0, 16),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarder_passes_what_is_not_ipv4() {
        let program = forwarder(&[0; 12], 7);
        let jump = 6;
        assert_eq!(program[jump], unless_equal(5, IPV4, 7));
        assert_eq!(program[jump + 1 + 7..], [set(0, PASS), EXIT]);
    }
}
