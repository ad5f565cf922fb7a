//! What the tests of all headers do, in buffers in which an unwritten byte shows.

use crate::frame::Frame;
use crate::host::{HostFrame, POISON};
use crate::reason::Reason;
use bytemuck::Pod;
use core::fmt::Debug;

/// An odd offset: a view must not mind.
const OFFSET: usize = 3;

/// A view of these bytes is this header.
pub fn deconstruct<T: Pod + Debug + PartialEq>(bytes: &[u8], expected: T) {
    let frame = HostFrame::bare(&[&[POISON; OFFSET], bytes, &[POISON; OFFSET]].concat());
    assert_eq!(frame.header::<T>(OFFSET), Ok(&expected));
}

/// Writing this header writes these bytes, all of them and no others.
pub fn construct<T: Pod>(header: T, expected: &[u8]) {
    let mut frame = HostFrame::bare(&vec![POISON; OFFSET + expected.len() + OFFSET]);
    *frame.header_mut(OFFSET).expect("there is room") = header;
    assert_eq!(frame.bytes, [&[POISON; OFFSET], expected, &[POISON; OFFSET]].concat());
}

/// There is no header where a byte of it is missing, and none beyond the end.
pub fn impossible_length<T: Pod + Debug + PartialEq>() {
    let mut frame = HostFrame::bare(&vec![0; OFFSET + size_of::<T>() - 1]);
    for offset in [OFFSET, OFFSET + size_of::<T>(), 1000] {
        assert_eq!(frame.header::<T>(offset), Err(Reason::Short));
        assert_eq!(frame.header_mut::<T>(offset), Err(Reason::Short));
    }
    assert!(frame.header::<T>(OFFSET - 1).is_ok());
}
