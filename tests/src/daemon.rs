//! The daemons at the gateways.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::command::{self, SOON};
use crate::interrupt;
use crate::netns::Namespace;
use crate::process::Process;
use crate::topology::Lab;
use crate::wire::{Side, Wire};

/// A running `l2xdp run` or `l2xdp accelerate`.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    loader: PathBuf,
    config: PathBuf,
}

/// A line of the log's: not merely a part of "already".
const READY: &str = "] ready";
/// The time from start to "ready": on an emulated machine the verifier takes most of it.
const START: Duration = Duration::from_secs(60);
const RELOAD: Duration = Duration::from_secs(5);
/// A session's devices go one after the other.
const DETACH: Duration = Duration::from_secs(30);

impl Daemon {
    /// Starts it and waits until traffic can flow. Configuration and log go to `files.toml` and `files.log`.
    pub fn start(
        namespace: &Namespace,
        loader: &Path,
        config: &str,
        arguments: &[&str],
        files: &Path,
    ) -> Result<Self> {
        let mut daemon = Self::launch(namespace, loader, config, arguments, files)?;
        daemon.await_ready()?;
        Ok(daemon)
    }

    /// Starts it and does not wait.
    pub fn launch(
        namespace: &Namespace,
        loader: &Path,
        config: &str,
        arguments: &[&str],
        files: &Path,
    ) -> Result<Self> {
        let file = files.with_extension("toml");
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = namespace.command(loader);
        command.arg("run").arg("--config").arg(&file).args(arguments);
        Self::spawn(&mut command, loader, files)
    }

    /// Has it read another configuration, and waits until it logs something with `sign`. Returns what it has logged of
    /// that.
    pub fn reload(&mut self, config: &str, sign: &str) -> Result<String> {
        let known = self.log().len();
        fs::write(&self.config, config).with_context(|| format!("cannot write {}", self.config.display()))?;
        self.process.signal(Signal::SIGHUP)?;
        let news = || self.log().get(known..).map(str::to_owned).filter(|news| news.contains(sign));
        let told = interrupt::poll(RELOAD, || Ok(news()))?;
        told.with_context(|| format!("it did not log “{sign}”: {}", self.log().trim()))
    }

    /// Starts `l2xdp accelerate`, and waits until it has taken up what there is. Its log goes to `files.log`.
    pub fn accelerate(
        namespace: &Namespace,
        loader: &Path,
        arguments: &[&str],
        files: &Path,
    ) -> Result<Self> {
        let mut command = namespace.command(loader);
        command.arg("accelerate").args(arguments);
        let mut daemon = Self::spawn(&mut command, loader, files)?;
        daemon.await_ready()?;
        Ok(daemon)
    }

    /// Has a command run it, whose log goes to `files.log`, and does not wait.
    pub fn spawn(command: &mut Command, loader: &Path, files: &Path) -> Result<Self> {
        let process = Process::start(command, &files.with_extension("log"))?;
        Ok(Self { process, loader: loader.to_owned(), config: files.with_extension("toml") })
    }

    /// Waits until traffic can flow.
    pub fn await_ready(&mut self) -> Result<()> {
        self.process.await_sign(READY, START)
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.said()
    }

    /// Ends it as an operator would; it must succeed in that.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.stop()?;
        ensure!(status.success(), "the daemon ended with {status}: {}", self.log().trim());
        Ok(())
    }

    /// Has it give the kernel's sessions back and end, by `l2xdp detach`; what that says.
    pub fn detach(mut self, namespace: &Namespace) -> Result<String> {
        let said = command::run(namespace.command(&self.loader).arg("detach"), DETACH)?;
        let status = self.process.await_end(SOON)?;
        ensure!(status.success(), "the daemon ended with {status}: {}", self.log().trim());
        Ok(said)
    }

    /// `l2xdp show`, as a person reads it.
    pub fn show(&self, namespace: &Namespace) -> Result<String> {
        command::run(namespace.command(&self.loader).arg("show"), SOON)
    }

    /// `l2xdp show --json`.
    pub fn show_json(&self, namespace: &Namespace) -> Result<Value> {
        let text = command::run(namespace.command(&self.loader).args(["show", "--json"]), SOON)?;
        serde_json::from_str(&text).with_context(|| format!("l2xdp show --json printed no JSON: {text}"))
    }
}

/// The daemons of a lab.
#[derive(Debug)]
pub struct Gateways {
    one: Daemon,
    two: Daemon,
}

impl Gateways {
    /// Starts both.
    pub fn start(lab: &Lab, loader: &Path, wire: &Wire) -> Result<Self> {
        Self::with(lab, loader, wire.xdp_mode, |side| wire.config(side))
    }

    /// Starts both with such a configuration.
    pub fn with(lab: &Lab, loader: &Path, xdp_mode: &str, config: impl Fn(Side) -> String) -> Result<Self> {
        let launch = |side| {
            let namespace = lab.gateway(side);
            let files = lab.work.path().join(namespace.name());
            Daemon::launch(namespace, loader, &config(side), &["--xdp-mode", xdp_mode], &files)
        };
        let (one, two) = (launch(Side::One)?, launch(Side::Two)?);
        let mut gateways = Self { one, two };
        for side in Side::BOTH {
            let name = lab.gateway(side).name();
            let daemon = gateways.daemon_mut(side);
            daemon.await_ready().with_context(|| format!("at {name}"))?;
        }
        Ok(gateways)
    }

    /// The daemon of a side.
    pub fn daemon(&self, side: Side) -> &Daemon {
        match side {
            Side::One => &self.one,
            Side::Two => &self.two,
        }
    }

    /// The daemon of a side, to be changed.
    pub fn daemon_mut(&mut self, side: Side) -> &mut Daemon {
        match side {
            Side::One => &mut self.one,
            Side::Two => &mut self.two,
        }
    }

    /// Ends both as an operator would.
    pub fn stop(self) -> Result<()> {
        self.one.stop()?;
        self.two.stop()
    }

    /// Lets both run on.
    pub fn keep(self) {
        self.one.process.keep();
        self.two.process.keep();
    }
}
