//! What a single value may be: numbers and cookies.

use super::Mtu;
use l2xdp_common::pseudowire::{Cookie, Mss, Tos};
use std::fmt::Display;
use std::ops::RangeInclusive;
use toml::de::DeValue;

/// A value, or what is wrong with it and the mend.
pub type Checked<T> = Result<T, String>;

/// The smallest MTU of IPv4 (RFC 791), below which the kernel takes IPv4 off a device.
const MIN_MTU: u16 = 68;

/// As low as segments of the smallest IPv4 packets: less than that is a slip of the keyboard.
const MIN_MSS: u16 = 64;

/// What the longest IPv4 packet holds beside the smallest IPv4 and TCP headers.
const MAX_MSS: u16 = u16::MAX - 40;

/// The two bits of the type of service that belong to ECN (RFC 3168).
const ECN: u8 = 0b11;

/// A tunnel or session id; 0 stands for control messages (RFC 3931 §4.1.2.1).
pub fn id(value: &DeValue) -> Checked<u32> {
    number(value, 1..=u32::MAX)
}

/// A UDP port.
pub fn udp_port(value: &DeValue) -> Checked<u16> {
    number(value, 1..=u16::MAX)
}

/// An outer TTL or hop limit.
pub fn ttl(value: &DeValue) -> Checked<u8> {
    number(value, 1..=u8::MAX)
}

/// A VLAN id.
pub fn vlan(value: &DeValue) -> Checked<u16> {
    number(value, 1..=4094)
}

/// `true` or `false`.
pub fn boolean(value: &DeValue) -> Checked<bool> {
    value.as_bool().ok_or_else(|| refuse(value, "true or false"))
}

/// The outer type of service.
pub fn tos(value: &DeValue) -> Checked<Tos> {
    if value.as_str() == Some("inherit") {
        return Ok(Tos::Inherit);
    }
    let tos = number_or(value, 0..=u8::MAX, "\"inherit\" or ")?;
    if tos & ECN != 0 {
        // Whoever writes a small number most likely means a DSCP.
        let mend = if tos < 64 {
            format!("for DSCP {tos} write {}", tos << 2)
        } else {
            format!("write {}", tos & !ECN)
        };
        return Err(format!("{tos} sets ECN bits, the lowest two; {mend}"));
    }
    Ok(Tos::Fixed(tos))
}

/// The MTU of a network device.
pub fn mtu(value: &DeValue) -> Checked<Mtu> {
    match value.as_str() {
        Some("auto") => Ok(Mtu::Auto),
        _ => number_or(value, MIN_MTU..=u16::MAX, "\"auto\" or ").map(Mtu::Fixed),
    }
}

/// The MSS clamp.
pub fn mss(value: &DeValue) -> Checked<Mss> {
    match value.as_str() {
        Some("auto") => Ok(Mss::Auto),
        Some("off") => Ok(Mss::Off),
        _ => number_or(value, MIN_MSS..=MAX_MSS, "\"auto\", \"off\" or ").map(Mss::Fixed),
    }
}

/// The MSS clamp as a word of a command line.
///
/// # Errors
/// What it may be.
pub fn parse_mss(text: &str) -> Checked<Mss> {
    match text {
        "auto" => Ok(Mss::Auto),
        "off" => Ok(Mss::Off),
        _ => {
            let number = text.parse().ok().filter(|mss| (MIN_MSS..=MAX_MSS).contains(mss));
            number.map(Mss::Fixed).ok_or_else(|| format!("write off, auto, or {MIN_MSS} to {MAX_MSS} bytes"))
        }
    }
}

/// A cookie as hex digits.
pub fn cookie(value: &DeValue) -> Checked<Cookie> {
    const EXPECTED: &str = "0, 8 or 16 hex digits in quotes";
    let digits = value.as_str().ok_or_else(|| refuse(value, EXPECTED))?;
    if let Some(stranger) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(format!("{stranger:?} is not a hex digit; write {EXPECTED}, without 0x or colons"));
    }
    let count = digits.len();
    if count % 2 != 0 {
        return Err(format!("has {count} hex digits, which is half a byte too many; write {EXPECTED}"));
    }
    let bytes: Vec<u8> =
        (0..count).step_by(2).filter_map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect();
    Cookie::new(&bytes).ok_or_else(|| format!("has {count} hex digits; write {EXPECTED}"))
}

/// The message about a value that cannot be.
pub fn refuse(value: &DeValue, expected: &str) -> String {
    let found = match value {
        DeValue::String(text) => format!("the string {text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date or time".into(),
        DeValue::Array(_) => "an array".into(),
        DeValue::Table(_) => "a table".into(),
    };
    format!("cannot be {found}; write {expected}")
}

fn number<T: TryFrom<i64> + PartialOrd + Display>(value: &DeValue, range: RangeInclusive<T>) -> Checked<T> {
    number_or(value, range, "")
}

/// A number, where the words that may stand in its stead have been tried.
fn number_or<T: TryFrom<i64> + PartialOrd + Display>(
    value: &DeValue,
    range: RangeInclusive<T>,
    words: &str,
) -> Checked<T> {
    value
        .as_integer()
        .and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok())
        .and_then(|number| T::try_from(number).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let expected = format!("{words}a whole number from {} to {}", range.start(), range.end());
            refuse(value, &expected)
        })
}
