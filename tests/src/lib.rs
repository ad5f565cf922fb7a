//! Network namespaces, the lab built of them, and the independent judges of the wire.

pub mod bpf;
pub mod capture;
pub mod command;
pub mod counters;
pub mod daemon;
pub mod frames;
pub mod interrupt;
pub mod message;
pub mod needs;
pub mod netns;
pub mod packet;
pub mod process;
pub mod snapshot;
pub mod topology;
pub mod traffic;
pub mod tshark;
pub mod wire;
pub mod workdir;
