//! l2xdp's loader: it reads a configuration, builds what it asks for, and keeps the eBPF programs' maps in step with
//! the kernel's routes, neighbours and links.
//!
//! [`plan`] is the heart: from the configuration and what was [observed](observe) it works out what the
//! [data path](datapath) should hold. [`gateway`] makes it so, again and again; [`daemon`] tells it when. [`reconcile`]
//! makes tunnels, sessions and devices, or [`adopt`] takes the kernel's [own](l2tp) as they are.

pub mod adopt;
pub mod attach;
pub mod config;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod devices;
pub mod doctor;
pub mod gateway;
pub mod import;
pub mod l2tp;
pub mod links;
pub mod netlink;
pub mod observe;
pub mod plan;
pub mod privileges;
pub mod reconcile;
mod rows;
pub mod show;
pub mod slots;
pub mod slow_path;
pub mod status;
pub mod sys;
pub mod trace;
pub mod underlay;
pub mod xdp_features;
pub mod xfrm;
