//! l2xdp: L2TPv3 Ethernet pseudowires in XDP and TC.
fn main() {}
