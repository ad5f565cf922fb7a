//! l2xdp's loader: it reads a configuration, builds what it asks for, and keeps the eBPF programs' maps in step with
//! the kernel's routes, neighbours and links.
//!
//! [`plan`] is the heart: from the configuration and what was [observed](observe) it works out what the
//! [data path](datapath) should hold. [`gateway`] makes it so, again and again; [`daemon`] tells it when.

pub mod attach;
pub mod config;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod devices;
pub mod doctor;
pub mod gateway;
pub mod observe;
pub mod plan;
pub mod privileges;
pub mod show;
pub mod slow_path;
pub mod status;
mod sys;
pub mod trace;
pub mod underlay;
pub mod xdp_features;
