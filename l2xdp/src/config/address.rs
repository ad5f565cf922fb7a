//! Which outer addresses can work.

use super::value::{Checked, refuse};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use toml::de::DeValue;

/// The address of one end.
pub fn address(value: &DeValue) -> Checked<IpAddr> {
    const EXPECTED: &str = "an IPv4 or IPv6 address in quotes, not a host name, without a prefix length";
    let text = value.as_str().ok_or_else(|| refuse(value, EXPECTED))?;
    // The scope of a link-local address, which the standard library's type has no room for.
    let (address, scope) =
        text.split_once('%').map_or((text, None), |(address, scope)| (address, Some(scope)));
    let address: IpAddr = address.parse().map_err(|_| refuse(value, EXPECTED))?;
    match flaw(address) {
        Some(flaw) => Err(format!("{text} {flaw}")),
        None if scope.is_some() => {
            Err(format!("{text} has a scope, which only link-local ones need; write {address}"))
        }
        None => Ok(address),
    }
}

/// What is between an address and its being an end of a tunnel, and the mend.
fn flaw(address: IpAddr) -> Option<String> {
    let flaw = match address {
        _ if address.is_unspecified() => "is not one address; write the one that the peer sends to",
        _ if address.is_multicast() => "is a multicast address; write a unicast one",
        IpAddr::V4(Ipv4Addr::BROADCAST) => "is the broadcast address; write a unicast one",
        IpAddr::V6(address) => return flaw6(address),
        IpAddr::V4(_) => return None,
    };
    Some(flaw.into())
}

fn flaw6(address: Ipv6Addr) -> Option<String> {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(format!("is an IPv4 address in IPv6 notation; write {mapped}"));
    }
    address.is_unicast_link_local().then(|| {
        "is link-local, which is ambiguous without its interface, and that is not supported; \
         write a global or unique local address"
            .into()
    })
}
