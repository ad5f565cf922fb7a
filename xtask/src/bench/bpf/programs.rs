//! The programs.

use super::BATCH;
use super::array::{Count, SLOTS, Seen, Turn};
use super::assembler::*;

/// XDP that writes `head` over the head of every frame and sends it out of a device.
///
/// A frame of a live test run comes round again with whatever the last round made of its head.
pub fn generator(head: &[u8], ifindex: u32) -> Vec<Instruction> {
    let write = words(head);
    let mut program = checked(head.len(), &[write, send_out_of(ifindex, 0)].concat());
    program.extend([set(0, ABORTED), EXIT]);
    program
}

/// The same, at most one frame in so many nanoseconds: it waits in a loop.
pub fn pacer(head: &[u8], gap: u32, turn: &Turn, ifindex: u32) -> Vec<Instruction> {
    // As often as the verifier likes to follow.
    const LOOKS: i32 = 1000;
    let again = |instructions: i16| if_less(9, LOOKS, -instructions - 1);
    let mut program = vec![copy(6, 1)];
    program.extend(value_of(7, turn.array()));
    program.extend([load(DOUBLE, 8, 7, 0), set(9, 0)]);
    // What is due is behind now, but no more than a batch of frames was.
    program.extend([add(9, 1), call(KTIME_GET_NS), if_greater(0, 8, 1), again(3)]);
    program.extend([copy(1, 0), add(1, -(gap as i32) * 16), if_greater(8, 1, 1), copy(8, 1)]);
    program.extend([add(8, gap as i32), store(DOUBLE, 7, 8, 0), copy(1, 6)]);
    program.extend(generator(head, ifindex));
    program
}

/// The same, with one of so many numbers from 1 in four bytes behind an offset: any, each as often as another.
pub fn scatterer(head: &[u8], offset: usize, numbers: u32, ifindex: u32) -> Vec<Instruction> {
    let mut program =
        vec![copy(6, 1), call(GET_PRANDOM_U32), copy(8, 0), modulo(8, numbers as i32), add(8, 1)];
    program.extend([big_endian_word(8), copy(1, 6)]);
    let mut write = words(head);
    write.push(store(WORD, 2, 8, offset as i16));
    write.extend(send_out_of(ifindex, 0));
    program.extend(checked(head.len(), &write));
    program.extend([set(0, ABORTED), EXIT]);
    program
}

/// The same with several kinds of frame, so many of each in turn: its length, and its head. All frames come with a length
/// of `longest`, and are cut.
pub fn mixer(kinds: &[(u32, usize, &[u8])], longest: usize, turn: &Turn, ifindex: u32) -> Vec<Instruction> {
    let all: u32 = kinds.iter().map(|(count, ..)| count).sum();
    let mut program = vec![copy(6, 1)];
    program.extend(value_of(7, turn.array()));
    program.extend([load(DOUBLE, 8, 7, 0), copy(1, 8), add(1, 1), if_less(1, all as i32, 1), set(1, 0)]);
    program.push(store(DOUBLE, 7, 1, 0));
    let mut before = 0;
    for (count, length, head) in kinds {
        before += count;
        let cut = [copy(1, 6), set(2, *length as i32 - longest as i32), call(ADJUST_TAIL), copy(1, 6)];
        let write = checked(head.len(), &[words(head), send_out_of(ifindex, 0)].concat());
        let body = [&cut[..], &write, &[set(0, ABORTED), EXIT]].concat();
        program.push(if_at_least(8, before as i32, body.len() as i16));
        program.extend(body);
    }
    program.extend([set(0, ABORTED), EXIT]);
    program
}

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
const KTIME_GET_NS: i32 = 5;
const GET_PRANDOM_U32: i32 = 7;
const GET_SMP_PROCESSOR_ID: i32 = 8;
const REDIRECT: i32 = 23;
const ADJUST_TAIL: i32 = 65;

// Verdicts.
const ABORTED: i32 = 0;
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

/// The body, in an XDP program, run where the frame has so many bytes; r2 is its begin, r3 its end. What follows is run
/// otherwise.
fn checked(bytes: usize, body: &[Instruction]) -> Vec<Instruction> {
    let past_end = if_greater(4, 3, body.len() as i16);
    let check = [load(WORD, 2, 1, 0), load(WORD, 3, 1, 4), copy(4, 2), add(4, bytes as i32), past_end];
    [&check[..], body].concat()
}

/// Writes bytes to r2, four at a time.
fn words(bytes: &[u8]) -> Vec<Instruction> {
    let word = |(index, word): (usize, &[u8])| {
        let value = i32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        store_value(2, 4 * index as i16, value)
    };
    bytes.chunks_exact(4).enumerate().map(word).collect()
}

fn send_out_of(ifindex: u32, flags: i32) -> Vec<Instruction> {
    vec![set(1, ifindex.cast_signed()), set(2, flags), call(REDIRECT), EXIT]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_in_words_before_the_frame_is_sent() {
        let program = generator(&[1, 0, 0, 0, 2, 0, 0, 0], 7);
        assert_eq!(program[5..7], [store_value(2, 0, 1), store_value(2, 4, 2)]);
        assert_eq!(program[7..], [set(1, 7), set(2, 0), call(REDIRECT), EXIT, set(0, ABORTED), EXIT]);
        // A frame too short for it jumps to the abort.
        assert_eq!(program[4].offset, 6);
    }

    #[test]
    fn a_forwarder_passes_what_is_not_ipv4() {
        let program = forwarder(&[0; 12], 7);
        let jump = 6;
        assert_eq!(program[jump], unless_equal(5, IPV4, 7));
        assert_eq!(program[jump + 1 + 7..], [set(0, PASS), EXIT]);
    }
}
