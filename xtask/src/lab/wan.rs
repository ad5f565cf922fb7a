//! Step 2: what is on the wire between the gateways.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use l2xdp_tests::tshark::Tshark;
use l2xdp_tests::wire::{Side, Wire};

use super::report::Step;

/// The first echo request among the captured frames.
pub fn show(wire: &Wire, captured: &Path, step: &mut Step<'_>) -> Result<()> {
    let tshark = Tshark::new(wire);
    let filter = "icmp.type == 8";
    let fields = ["frame.number", "frame.protocols", "ip.src", "ip.dst", "udp.dstport", "l2tp.sid"];
    let rows = tshark.fields(captured, filter, &fields)?;
    let row = rows.first().context("tshark finds no echo request on the WAN")?;
    let [number, protocols, sources, destinations, port, session] = row.as_slice() else {
        unreachable!("one value a field");
    };
    ensure!(protocols.contains(":udp:l2tp:"), "tshark finds no L2TP in {protocols}");

    let account = tshark.account(captured, &format!("frame.number == {number}"))?;
    let shown = outline(&account);
    step.say(&shown);
    step.fact("frame", shown);

    let (from, to) = (Side::One, Side::Two);
    let expected = format!("0x{:08x}", to.session_id());
    step.check(*session == expected, &format!("session id {} ({session})", to.session_id()));
    step.check(*port == to.port().to_string(), &format!("UDP port {port}"));
    let outer = |values: &str| values.split(',').next().unwrap_or_default().to_owned();
    let (source, destination) = (outer(sources), outer(destinations));
    step.check(
        source == wire.underlay.address(from) && destination == wire.underlay.address(to),
        &format!("{source} → {destination}"),
    );
    tshark.is_content(captured)?;
    step.check(true, "tshark has no complaint about lengths or checksums in any frame");
    Ok(())
}

/// A line for each header, and what tshark says of L2TP.
fn outline(account: &str) -> String {
    let mut in_l2tp = false;
    let lines = account.lines().filter(|line| {
        let is_header = line.starts_with(|c: char| c.is_ascii_uppercase());
        let is_detail = line.starts_with("    ") && !line.contains(['.', '[']);
        if is_header {
            in_l2tp = line.starts_with("Layer 2 Tunneling");
        }
        is_header || (in_l2tp && is_detail)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outline_has_the_headers_and_the_session() {
        let account = "\
Internet Protocol Version 4, Src: 1.1.1.2, Dst: 2.2.2.2
    0100 .... = Version: 4
Layer 2 Tunneling Protocol version 3
    Flags: 0x0003, Type: Data Message
        0... .... .... .... = Type: Data Message (0)
    Session ID: 0x00000fa0
    [Pseudowire Type: Unknown (0)]
Internet Control Message Protocol
    Type: 8 (Echo (ping) request)

0000  d3 a7 05 00 00 00 00 00 10 11 12 13 14 15 16 17   ................
";
        assert_eq!(
            outline(account),
            "\
Internet Protocol Version 4, Src: 1.1.1.2, Dst: 2.2.2.2
Layer 2 Tunneling Protocol version 3
    Flags: 0x0003, Type: Data Message
    Session ID: 0x00000fa0
Internet Control Message Protocol"
        );
    }
}
