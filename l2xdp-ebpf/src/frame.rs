//! The two packet buffers of the kernel. All `unsafe` access to packets is here and below.

mod outline;
mod sum;
mod tc;
mod xdp;

use bytemuck::Pod;
use core::arch::asm;
use core::hint::cold_path;
use core::intrinsics::is_val_statically_known;
use l2xdp_common::Reason;
pub use tc::TcFrame;
pub use xdp::XdpFrame;

/// No header begins further into a frame: outer headers, two tags, an IPv4 header with options, TCP options.
const MAX_OFFSET: usize = 256;

/// The bytes that can be reached directly. Addresses, so that arithmetic on them stays arithmetic.
#[derive(Clone, Copy)]
struct Linear {
    data: usize,
    end: usize,
}

impl Linear {
    #[inline(always)]
    fn len(&self) -> usize {
        self.end - self.data
    }

    #[inline(always)]
    fn at<T: Pod>(&self, offset: usize) -> Result<*mut T, Reason> {
        const { assert!(align_of::<T>() == 1) };
        // Folds away for a constant; otherwise the verifier wants a small known maximum.
        if offset > MAX_OFFSET {
            return Err(Reason::Short);
        }
        let end = if is_val_statically_known(offset) { self.end } else { hide(self.end) };
        let address = self.data + offset;
        if address + size_of::<T>() > end {
            cold_path();
            return Err(Reason::Short);
        }
        Ok(address as *mut T)
    }
}

/// A packet pointer out of a program's context. To the compiler such a field is a number of 32 bits, which it would at
/// times move as one; the verifier then takes it for a number too.
macro_rules! packet_pointer {
    ($ctx:expr, $context:ty, $field:ident) => {{
        let pointer: usize;
        // SAFETY: the kernel's context, valid while the program runs.
        unsafe {
            core::arch::asm!(
                "{pointer} = *(u32 *)({ctx} + {field})",
                pointer = out(reg) pointer,
                ctx = in(reg) $ctx,
                field = const core::mem::offset_of!($context, $field),
                options(pure, readonly, nostack, preserves_flags),
            )
        };
        pointer
    }};
}
use packet_pointer;

/// The same value, but the compiler does not know. From a passed check at one offset it would infer that a check at
/// a lower one must pass and remove it; the verifier can't follow that where the offset is not a constant. Not an
/// empty `asm`: two lines of BTF would share an instruction, which the kernel refuses.
#[inline(always)]
fn hide(mut value: usize) -> usize {
    // SAFETY: `r = r`.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}
