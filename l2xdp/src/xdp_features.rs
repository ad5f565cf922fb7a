//! Which devices take frames redirected by XDP: the generic netlink family `netdev` (Linux 6.3,
//! `Documentation/netlink/specs/netdev.yaml`).

use anyhow::{Context, Result};
use futures_util::StreamExt;
use genetlink::GenetlinkHandle;
use netlink_packet_core::{
    DecodeError, Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, NlaBuffer, NlasIterator,
    ParseableParametrized, parse_u32, parse_u64,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};

const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
/// `enum netdev_xdp_act`: the device has `ndo_xdp_xmit` and is ready for it. A veth is if its peer has NAPI, that is
/// GRO on, or an XDP program.
const NETDEV_XDP_ACT_NDO_XMIT: u64 = 1 << 2;

/// One device's answer; empty as a request.
#[derive(Clone, Copy, Debug, Default)]
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
        0
    }

    fn emit(&self, _buffer: &mut [u8]) {}
}

impl ParseableParametrized<[u8], GenlHeader> for Device {
    fn parse_with_param(payload: &[u8], _header: GenlHeader) -> Result<Self, DecodeError> {
        let mut device = Self::default();
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

/// The devices of this network namespace that can't be sent to from XDP; `None` before Linux 6.3, which does not say.
///
/// # Errors
/// What generic netlink answers.
pub async fn without_xmit(handle: &mut GenetlinkHandle) -> Result<Option<Vec<u32>>> {
    let mut request = NetlinkMessage::from(GenlMessage::from_payload(Device::default()));
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut answers = match handle.request(request).await {
        Ok(answers) => answers,
        // The family is not there.
        Err(genetlink::GenetlinkError::NetlinkError(_)) => return Ok(None),
        Err(error) => return Err(error).context("generic netlink: family netdev"),
    };
    let mut without = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer.context("generic netlink: family netdev")?.payload {
            NetlinkPayload::InnerMessage(message) if message.payload.features & NETDEV_XDP_ACT_NDO_XMIT == 0 => {
                without.push(message.payload.ifindex);
            }
            NetlinkPayload::Error(error) => return Err(error.to_io()).context("netdev: dev-get"),
            _ => {}
        }
    }
    Ok(Some(without))
}
