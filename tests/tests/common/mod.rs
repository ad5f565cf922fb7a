//! Packet vectors: what they say, and what it takes to hold it against the real programs.

pub mod hex;
pub mod outcome;
pub mod run;
pub mod vector;
pub mod world;
