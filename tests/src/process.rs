//! A program in the background: it writes to a log, and ends with its handle.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::shown;
use crate::interrupt;

/// A program in the background.
#[derive(Debug)]
pub struct Process {
    child: Child,
    shown: String,
    log: PathBuf,
    kept: bool,
}

/// The time a program has to end once it is asked to.
const GRACE: Duration = Duration::from_secs(30);

impl Process {
    /// Starts a program; all it prints goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // Out of reach of the terminal's Ctrl-C: it is ended in order, by us.
        let child =
            command.process_group(0).spawn().with_context(|| format!("cannot run {}", shown(command)))?;
        Ok(Self { child, shown: shown(command), log: log.to_owned(), kept: false })
    }

    /// Waits until it has printed a line with `sign`.
    pub fn await_sign(&mut self, sign: &str, limit: Duration) -> Result<()> {
        let seen = interrupt::poll(limit, || {
            if self.said().lines().any(|line| line.contains(sign)) {
                return Ok(Some(()));
            }
            match self.child.try_wait()? {
                Some(status) => bail!("{} ended at once ({status}): {}", self.shown, self.said().trim()),
                None => Ok(None),
            }
        })?;
        ensure!(
            seen.is_some(),
            "{} did not print “{sign}” within {} s: {}",
            self.shown,
            limit.as_secs_f32(),
            self.said().trim()
        );
        Ok(())
    }

    /// Waits until it ends by itself.
    pub fn await_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let status = interrupt::poll(limit, || Ok(self.child.try_wait()?))?;
        status.with_context(|| {
            format!("{} did not end within {} s: {}", self.shown, limit.as_secs_f32(), self.said().trim())
        })
    }

    /// Everything it has printed so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // A child that was waited for gave its id away.
        ensure!(self.is_running(), "{} is not running any more: {}", self.shown, self.said().trim());
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to {}", self.shown))
    }

    /// Asks it to end by SIGTERM, and waits; one that does not is killed, which is an error.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(3));
        }
        self.kill()?;
        bail!("{} did not end on SIGTERM within {} s: {}", self.shown, GRACE.as_secs(), self.said().trim())
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets it run on when this process ends.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.kept && self.is_running() {
            // Whoever cares how it ends calls stop().
            let _ = self.stop();
        }
    }
}
