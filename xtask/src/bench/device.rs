//! A device of a namespace, as frames and programs name it.

use anyhow::{Context as _, Result, anyhow};
use l2xdp_tests::netns::Namespace;
use serde_json::Value;

/// A device of a namespace.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// Its index there.
    pub index: u32,
    /// Its address.
    pub mac: [u8; 6],
}

impl Device {
    /// The one of that name.
    pub fn of(namespace: &Namespace, name: &str) -> Result<Self> {
        let shown: Value = serde_json::from_str(&namespace.run(&format!("ip -json link show dev {name}"))?)?;
        let index = shown[0]["ifindex"].as_u64().context("ip shows no ifindex")?;
        let address = shown[0]["address"].as_str().context("ip shows no address")?;
        let bytes: Result<Vec<u8>, _> = address.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
        let mac = bytes?.try_into().map_err(|_| anyhow!("{address} is no MAC address"))?;
        Ok(Self { index: u32::try_from(index)?, mac })
    }
}

/// The addresses of a frame from one device to another, as they stand in its head.
pub fn macs(to: Device, from: Device) -> [u8; 12] {
    let mut macs = [0; 12];
    macs[..6].copy_from_slice(&to.mac);
    macs[6..].copy_from_slice(&from.mac);
    macs
}
