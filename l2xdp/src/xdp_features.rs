//! Which devices take frames redirected by XDP: the generic netlink family `netdev` (Linux 6.3,
//! `Documentation/netlink/specs/netdev.yaml`).

use anyhow::{Context, Result};
use futures_util::StreamExt;
use genetlink::{GenetlinkError, GenetlinkHandle};
use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, NlaBuffer,
    NlasIterator, ParseableParametrized, parse_u32, parse_u64,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use std::sync::atomic::{AtomicBool, Ordering};

const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
/// `enum netdev_xdp_act`: the device has `ndo_xdp_xmit` and is ready for it. A veth is if its peer has NAPI, that is
/// GRO on, or an XDP program.
const NETDEV_XDP_ACT_NDO_XMIT: u64 = 1 << 2;

/// This kernel has no such family. It is not asked again: at each question it would start modprobe to look for one.
static ABSENT: AtomicBool = AtomicBool::new(false);

/// A question about one device, and its answer.
#[derive(Clone, Copy, Debug)]
struct Device {
    ifindex: u32,
    features: u64,
}

impl GenlFamily for Device {
    fn family_name() -> &'static str {
        "netdev"
    }

    fn command(&self) -> u8 {
        NETDEV_CMD_DEV_GET
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Device {
    fn buffer_len(&self) -> usize {
        self.index().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.index().emit(buffer);
    }
}

impl Device {
    fn index(&self) -> DefaultNla {
        DefaultNla::new(NETDEV_A_DEV_IFINDEX, self.ifindex.to_ne_bytes().to_vec())
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Device {
    fn parse_with_param(payload: &[u8], _header: GenlHeader) -> Result<Self, DecodeError> {
        let mut device = Self { ifindex: 0, features: 0 };
        for attribute in NlasIterator::new(payload) {
            let attribute: NlaBuffer<&[u8]> = attribute?;
            match attribute.kind() {
                NETDEV_A_DEV_IFINDEX => device.ifindex = parse_u32(attribute.value())?,
                NETDEV_A_DEV_XDP_FEATURES => device.features = parse_u64(attribute.value())?,
                _ => {}
            }
        }
        Ok(device)
    }
}

/// Can XDP send frames out of a device? `None` before Linux 6.3, which does not say, and for a device that is gone.
///
/// Asked one by one: the kernel's list of all lacks the flag `NLM_F_MULTI`, so that netlink-proto takes its first
/// device for all of it (seen on Linux 6.18).
///
/// # Errors
/// What generic netlink answers.
pub async fn has_xmit(handle: &mut GenetlinkHandle, ifindex: u32) -> Result<Option<bool>> {
    const CONTEXT: &str = "generic netlink: family netdev";
    if ABSENT.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let mut request = NetlinkMessage::from(GenlMessage::from_payload(Device { ifindex, features: 0 }));
    request.header.flags = NLM_F_REQUEST;
    let mut answers = match handle.request(request).await {
        Ok(answers) => answers,
        Err(GenetlinkError::NetlinkError(_)) => {
            ABSENT.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        Err(error) => return Err(error).context(CONTEXT),
    };
    match answers.next().await {
        Some(answer) => match answer.context(CONTEXT)?.payload {
            NetlinkPayload::InnerMessage(answer) => {
                Ok(Some(answer.payload.features & NETDEV_XDP_ACT_NDO_XMIT != 0))
            }
            _ => Ok(None),
        },
        None => Ok(None),
    }
}
