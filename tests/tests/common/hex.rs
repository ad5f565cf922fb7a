//! Frames as a person writes them.

use std::fmt::Write as _;

/// The bytes of a dump: two digits each, spaces and lines as one likes, `5a*100` for a hundred of them, and comments
/// from `#` to the end of the line.
pub fn parse(dump: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for line in dump.lines() {
        let code = line.split('#').next().unwrap_or_default();
        for word in code.split_whitespace() {
            match word.split_once('*') {
                Some((byte, count)) => {
                    let count = count.parse().map_err(|error| format!("{word}: {error}"))?;
                    bytes.extend(pairs(byte)?.repeat(count));
                }
                None => bytes.extend(pairs(word)?),
            }
        }
    }
    Ok(bytes)
}

fn pairs(digits: &str) -> Result<Vec<u8>, String> {
    let pair = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes = (0..digits.len()).step_by(2).map(pair).collect::<Option<_>>();
    bytes.ok_or_else(|| format!("{digits} is not pairs of hex digits"))
}

/// What two frames differ in, for a person to read: 16 bytes a line, only the lines that differ.
pub fn difference(got: &[u8], expected: &[u8]) -> String {
    let mut text = format!("{} bytes, expected {}\n", got.len(), expected.len());
    for at in (0..got.len().max(expected.len())).step_by(16) {
        let line = |bytes: &[u8]| bytes[at.min(bytes.len())..bytes.len().min(at + 16)].to_vec();
        let (got, expected) = (line(got), line(expected));
        if got != expected {
            let _ = writeln!(text, "{at:4}  got      {}\n      expected {}", words(&got), words(&expected));
        }
    }
    text
}

fn words(bytes: &[u8]) -> String {
    let words: Vec<_> = bytes
        .chunks(4)
        .map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        .collect();
    words.join(" ")
}
