//! `cargo xtask`: l2xdp's development commands.
fn main() {}
