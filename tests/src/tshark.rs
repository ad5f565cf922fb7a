//! tshark, the independent judge of the wire.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::command;
use crate::wire::{L2Spec, Side, Wire};

/// A tshark that knows how to read one wire. L2TPv3 data tells neither its cookie nor its sublayer.
#[derive(Debug)]
pub struct Tshark {
    arguments: Vec<String>,
}

const LIMIT: Duration = Duration::from_secs(30);

/// What an expert may not say of a frame: that it contradicts itself, or that a checksum is wrong.
const COMPLAINTS: &str = "_ws.malformed or _ws.expert.group == \"Malformed\" or _ws.expert.severity == \"Error\" \
     or _ws.expert.group == \"Checksum\"";

impl Tshark {
    /// For captures in which this wire is.
    pub fn new(wire: &Wire) -> Self {
        let cookie = match wire.cookie.bytes() {
            0 => "None".to_owned(),
            bytes => format!("{bytes} Byte Cookie"),
        };
        let sublayer = match wire.l2spec {
            L2Spec::None => "None",
            L2Spec::Default => "Default L2-Specific",
        };
        let mut arguments = vec!["-n".to_owned()];
        let mut option = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        for side in Side::BOTH {
            option("-d", format!("udp.port=={},l2tp", side.port()));
        }
        // Without control messages the type of the pseudowire is unknown: 0.
        option("-d", "l2tp.pw_type==0,eth".to_owned());
        option("-o", format!("l2tp.cookie_size:{cookie}"));
        option("-o", format!("l2tp.l2_specific:{sublayer}"));
        for protocol in ["ip", "udp", "tcp"] {
            option("-o", format!("{protocol}.check_checksum:TRUE"));
        }
        Self { arguments }
    }

    /// The fields of each frame that passes the display filter. A field that occurs several times has its
    /// values in order, from the outermost header to the innermost, with commas between them.
    pub fn fields(&self, capture: &Path, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
        let mut command = self.command(capture, filter);
        command.args(["-T", "fields"]).args(fields.iter().flat_map(|field| ["-e", field]));
        let text = command::run(&mut command, LIMIT)?;
        Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }

    /// Its whole account of each frame that passes the display filter.
    pub fn account(&self, capture: &Path, filter: &str) -> Result<String> {
        command::run(self.command(capture, filter).arg("-V"), LIMIT)
    }

    /// The MSS of each SYN from an address, or of each SYN-ACK if `ack`.
    pub fn mss(&self, capture: &Path, source: &str, ack: bool) -> Result<Vec<u16>> {
        let ip = if source.contains(':') { "ipv6" } else { "ip" };
        let ack = u8::from(ack);
        let filter = format!("{ip}.src == {source} and tcp.flags.syn == 1 and tcp.flags.ack == {ack}");
        let rows = self.fields(capture, &filter, &["tcp.options.mss_val"])?;
        let mss = |row: &Vec<String>| row[0].parse().with_context(|| format!("{:?} is no MSS", row[0]));
        rows.iter().map(mss).collect()
    }

    /// An error, if any frame is malformed, contradicts its own lengths, or has a wrong checksum.
    pub fn is_content(&self, capture: &Path) -> Result<()> {
        let rows = self.fields(
            capture,
            COMPLAINTS,
            &["frame.number", "frame.protocols", "_ws.expert.message", "_ws.malformed"],
        )?;
        let complaints: Vec<_> = rows.iter().map(|row| row.join(" ")).collect();
        ensure!(
            complaints.is_empty(),
            "tshark complains about {}: {}",
            capture.display(),
            complaints.join("; ")
        );
        Ok(())
    }

    fn command(&self, capture: &Path, filter: &str) -> Command {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(capture).args(&self.arguments).args(["-Y", filter]);
        command
    }
}
