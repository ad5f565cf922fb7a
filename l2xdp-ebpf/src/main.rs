//! The TC and XDP programs of l2xdp: each finds a frame's session, has [`l2xdp_common`] rewrite the frame, counts
//! it and redirects it.
//!
//! XDP comes first where a device has it; TC stands behind it and takes what XDP leaves (the reason `to_tc`).
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "is_val_statically_known has no stable twin")
)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod frame;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod programs;
