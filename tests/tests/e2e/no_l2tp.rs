//! What takes the kernel's L2TP, on a kernel without it: refused, with the mend.

use libtest_mimic::Trial;

use crate::refusals::{NOTHING, Refusal};

/// Backends, encapsulations and commands.
pub fn trials() -> Vec<Trial> {
    const MISSING: &[&str] = &["this kernel has no L2TP", "modprobe l2tp_eth"];
    let refusals = [
        Refusal {
            name: "no-l2tp/backend-kernel",
            edit: ("\"standalone\"", "\"kernel\""),
            says: &["tunnel 1000", "no L2TP", "backend = \"kernel\"", "modprobe l2tp_eth", "\"standalone\""],
            ..NOTHING
        },
        Refusal {
            name: "no-l2tp/encap-ip",
            edit: (UDP, "encap = \"ip\"\nlocal = \"1.1.1.2\"\nremote = \"2.2.2.2\"\n"),
            says: &[
                "tunnel 1000",
                "no L2TP",
                "encap = \"ip\"",
                "modprobe l2tp_eth l2tp_ip",
                "encap = \"udp\"",
            ],
            ..NOTHING
        },
        Refusal { name: "no-l2tp/accelerate", command: "accelerate --all", says: MISSING, ..NOTHING },
        Refusal { name: "no-l2tp/import", command: "import", says: MISSING, ..NOTHING },
    ];
    refusals.into_iter().map(Refusal::trial).collect()
}

/// Of the lab's configuration.
const UDP: &str = "encap = \"udp\"\nlocal = \"1.1.1.2\"\nremote = \"2.2.2.2\"\nudp_sport = 6000\nudp_dport = 5000\n\
     backend = \"standalone\"\n";
