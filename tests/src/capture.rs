//! Captures of what passes an interface.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::command::SOON;
use crate::interrupt;
use crate::netns::Namespace;
use crate::process::Process;

/// A capture under way.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Process,
    file: PathBuf,
}

const BUFFER_KIB: &str = "16384";

/// A capture that has grown no more for so long has everything.
const QUIET: Duration = Duration::from_millis(120);

/// The filter for segments that open a TCP connection, over IPv4 or IPv6.
pub const SYN: &str = "tcp[tcpflags] & tcp-syn != 0 or (ip6[6] == 6 and ip6[53] & 2 != 0)";

impl Capture {
    /// Captures what passes `interface` and the filter into `file`; frames from now on are in it.
    pub fn start(namespace: &Namespace, interface: &str, filter: &str, file: &Path) -> Result<Self> {
        let mut command = namespace.command("tcpdump");
        command.args(["-i", interface, "-n", "-U", "--immediate-mode", "-Z", "root", "-s", "0"]);
        command.args(["-B", BUFFER_KIB, "-w"]);
        command.arg(file).arg(filter);
        let mut tcpdump = Process::start(&mut command, &file.with_extension("log"))?;
        tcpdump.await_sign("listening on", SOON)?;
        Ok(Self { tcpdump, file: file.to_owned() })
    }

    /// Ends it, and says where the frames are.
    pub fn stop(mut self) -> Result<PathBuf> {
        // tcpdump throws away what it has not read by then.
        let mut written = None;
        while written != Some(self.written()?) {
            written = Some(self.written()?);
            interrupt::check()?;
            thread::sleep(QUIET);
        }
        self.tcpdump.stop()?;
        let said = self.tcpdump.said();
        ensure!(said.contains("\n0 packets dropped by kernel"), "the capture is not whole: {said}");
        Ok(self.file)
    }

    fn written(&self) -> Result<u64> {
        Ok(fs::metadata(&self.file)?.len())
    }
}
