#![cfg_attr(target_arch = "bpf", no_std, no_main)]
//! l2xdp programs.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
