//! The bench's own programs, which make frames, send them on, and count them: assembled here, so that they cost a known
//! number of instructions, and neither a compiler nor l2xdp is needed.

mod array;
mod assembler;
mod info;
mod program;
mod programs;
mod syscall;

pub use array::{Count, Seen, Turn};
pub use info::{Statistics, programs_of};
pub use program::{Kind, Link, Program};
pub use programs::{counter, forwarder, generator, mixer, pacer, redirect, reflector, scatterer, sink};

/// Frames that a live test run makes at a time, and after how many of them the time is taken.
pub const BATCH: u32 = 64;
