//! Which names the kernel lets an interface have.

use super::value::{Checked, refuse};
use crate::devices;
use toml::de::DeValue;

/// `IFNAMSIZ` without the terminating zero.
const MAX_LEN: usize = 15;

/// An interface's name: as the kernel's `dev_valid_name` has it, without templates (`%d`) and without the names
/// of the directories that stand beside the interfaces' in /proc/sys/net.
pub fn interface(value: &DeValue) -> Checked<String> {
    let name = value.as_str().ok_or_else(|| refuse(value, "the name of an interface in quotes"))?;
    let flaw = match name {
        "" => "is empty; name an interface".into(),
        "." | ".." | "all" | "default" => format!("{name:?} is reserved by the kernel; choose another name"),
        _ if devices::is_reserved(name) => {
            format!("{name:?} is the name of a device that l2xdp makes for itself; choose another name")
        }
        _ if name.len() > MAX_LEN => {
            format!("{name:?} has {} bytes; interface names have at most {MAX_LEN}", name.len())
        }
        _ if name.bytes().any(is_refused) => {
            format!(
                "{name:?} cannot name an interface; leave out '/', ':', '%', spaces and control characters"
            )
        }
        _ => return Ok(name.into()),
    };
    Err(flaw)
}

/// The kernel's `isspace` takes byte 0xa0 for a space, whatever the encoding.
const fn is_refused(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte.is_ascii_control() || matches!(byte, b'/' | b':' | b'%' | 0xa0)
}
