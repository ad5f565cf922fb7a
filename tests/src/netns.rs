//! A network namespace: created, entered, and taken down with all that runs in it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::{self, SOON};

/// A network namespace of `ip netns`.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    kept: bool,
}

/// Where `ip netns` has its namespaces.
const RUN: &str = "/run/netns";

impl Namespace {
    /// A new one with its loopback up; a stale one of that name goes first.
    pub fn create(name: &str) -> Result<Self> {
        remove(name)?;
        command::run(Command::new("ip").args(["netns", "add", name]), SOON)?;
        let namespace = Self { name: name.to_owned(), kept: false };
        namespace.run("ip link set lo up")?;
        Ok(namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run in it. Not by `ip netns exec`, which hides bpffs.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={RUN}/{}", self.name)).arg(program);
        command
    }

    /// Runs a short command in it, given as words with spaces between them.
    pub fn run(&self, words: &str) -> Result<String> {
        let mut words = words.split_whitespace();
        let program = words.next().context("no command to run")?;
        command::run(self.command(program).args(words), SOON)
    }

    /// Runs several of them in order.
    pub fn run_all<'a>(&self, commands: impl IntoIterator<Item = &'a str>) -> Result<()> {
        commands.into_iter().try_for_each(|command| self.run(command).map(drop))
    }

    /// Does something on a thread that is inside: what it opens or starts stays inside.
    pub fn enter<T: Send>(&self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = file(&self.name);
        let namespace = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter {}", path.display()))?;
                action()
            });
            inside.join().map_err(|_| anyhow!("the thread inside {} panicked", self.name))?
        })
    }

    /// Sets one of the settings under `/proc/sys/net`.
    pub fn set(&self, setting: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(setting);
        self.enter(|| fs::write(&path, value).with_context(|| format!("cannot write {}", path.display())))
    }

    /// Lets it stay.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = remove(&self.name) {
            eprintln!("cannot remove the namespace {}: {error:#}", self.name);
        }
    }
}

/// Removes a namespace and ends all that runs in it; nothing to do if there is none of that name.
pub fn remove(name: &str) -> Result<()> {
    if !file(name).exists() {
        return Ok(());
    }
    end_processes(name)?;
    command::run_to_the_end(Command::new("ip").args(["netns", "del", name]))?;
    Ok(())
}

/// The names of all namespaces that begin so.
pub fn names(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(RUN).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// SIGTERM first, as a daemon takes its devices down with it; SIGKILL for what ignores that.
fn end_processes(name: &str) -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        for pid in pids(name)? {
            // One that is gone already is what we want.
            let _ = kill(pid, signal);
        }
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline {
            if pids(name)?.is_empty() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    ensure!(pids(name)?.is_empty(), "processes in the namespace {name} cannot be killed");
    Ok(())
}

fn pids(name: &str) -> Result<Vec<Pid>> {
    let listed = command::run_to_the_end(Command::new("ip").args(["netns", "pids", name]))?;
    listed.split_whitespace().map(|pid| Ok(Pid::from_raw(pid.parse()?))).collect()
}

fn file(name: &str) -> PathBuf {
    Path::new(RUN).join(name)
}
