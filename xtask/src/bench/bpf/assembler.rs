//! Instructions of BPF, by what they do.

use std::os::fd::{AsRawFd as _, OwnedFd};

/// `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    registers: u8,
    pub(super) offset: i16,
    value: i32,
}

/// A size of what is loaded or stored: four bytes.
pub const WORD: u8 = 0x00;
/// Two bytes.
pub const HALF: u8 = 0x08;
/// One byte.
pub const BYTE: u8 = 0x10;
/// Eight bytes.
pub const DOUBLE: u8 = 0x18;
/// The end; the verdict is in r0.
pub const EXIT: Instruction = instruction(0x95, 0, 0, 0, 0);

/// A register is this.
pub const fn set(register: u8, value: i32) -> Instruction {
    instruction(0xb7, register, 0, 0, value)
}

/// A register is what another is.
pub const fn copy(to: u8, from: u8) -> Instruction {
    instruction(0xbf, to, from, 0, 0)
}

/// Adds this.
pub const fn add(register: u8, value: i32) -> Instruction {
    instruction(0x07, register, 0, 0, value)
}

/// Adds what another register is.
pub const fn add_register(to: u8, from: u8) -> Instruction {
    instruction(0x0f, to, from, 0, 0)
}

/// Subtracts what another register is.
pub const fn subtract_register(from: u8, what: u8) -> Instruction {
    instruction(0x1f, from, what, 0, 0)
}

/// Leaves the remainder of a division.
pub const fn modulo(register: u8, by: i32) -> Instruction {
    instruction(0x97, register, 0, 0, by)
}

/// Puts the most significant of four bytes first.
pub const fn big_endian_word(register: u8) -> Instruction {
    instruction(0xdc, register, 0, 0, 32)
}

/// Leaves these bits.
pub const fn and(register: u8, value: i32) -> Instruction {
    instruction(0x57, register, 0, 0, value)
}

/// Shifts to the left.
pub const fn shift_left(register: u8, bits: i32) -> Instruction {
    instruction(0x67, register, 0, 0, bits)
}

/// The first register is as many bytes at an offset from the second.
pub const fn load(size: u8, to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x61 | size, to, from, offset, 0)
}

/// As many bytes at an offset from the first register are the second.
pub const fn store(size: u8, to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x63 | size, to, from, offset, 0)
}

/// Four bytes at an offset from a register are this.
pub const fn store_value(to: u8, offset: i16, value: i32) -> Instruction {
    instruction(0x62, to, 0, offset, value)
}

/// A byte of the packet whose socket buffer is r6, to r0.
pub const fn frame_byte(offset: i32) -> Instruction {
    instruction(0x30, 0, 0, 0, offset)
}

/// Skips instructions unless a register is this.
pub const fn unless_equal(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x55, register, 0, skip, value)
}

/// Skips instructions if a register is less than this.
pub const fn if_less(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0xa5, register, 0, skip, value)
}

/// Skips instructions if a register is at least this.
pub const fn if_at_least(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x35, register, 0, skip, value)
}

/// Skips instructions if the first register is greater than the second.
pub const fn if_greater(register: u8, than: u8, skip: i16) -> Instruction {
    instruction(0x2d, register, than, skip, 0)
}

/// Calls a helper.
pub const fn call(helper: i32) -> Instruction {
    instruction(0x85, 0, 0, 0, helper)
}

/// The address of an array's first value, in two instructions.
pub fn value_of(register: u8, array: &OwnedFd) -> [Instruction; 2] {
    const MAP_VALUE: u8 = 2;
    [instruction(0x18, register, MAP_VALUE, 0, array.as_raw_fd()), instruction(0, 0, 0, 0, 0)]
}

const fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, value }
}
