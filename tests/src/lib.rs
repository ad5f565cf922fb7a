//! Network namespaces, the lab built of them, and the independent judges of the wire.

pub mod capture;
pub mod command;
pub mod counters;
pub mod daemon;
pub mod interrupt;
pub mod netns;
pub mod process;
pub mod topology;
pub mod tshark;
pub mod wire;
pub mod workdir;
