//! The programs that make frames, of copies of one frame.

use super::array::Turn;
use super::assembler::*;
use super::parts::{KTIME_GET_NS, checked, send_out_of, words};

// Helpers.
const GET_PRANDOM_U32: i32 = 7;
const ADJUST_TAIL: i32 = 65;

/// The verdict on frames too short for their head.
const ABORTED: i32 = 0;

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

#[cfg(test)]
mod tests {
    use super::super::parts::REDIRECT;
    use super::*;

    #[test]
    fn a_head_is_written_in_words_before_the_frame_is_sent() {
        let program = generator(&[1, 0, 0, 0, 2, 0, 0, 0], 7);
        assert_eq!(program[5..7], [store_value(2, 0, 1), store_value(2, 4, 2)]);
        assert_eq!(program[7..], [set(1, 7), set(2, 0), call(REDIRECT), EXIT, set(0, ABORTED), EXIT]);
        // A frame too short for it jumps to the abort.
        assert_eq!(program[4].offset, 6);
    }
}
