//! One run of a guest: the folder it shares with us, the script it runs, and how it ended.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::{env, fs, process};

use anyhow::{Context as _, Result};

use super::kernel::{Kernel, Prepared};
use super::machine::{self, Options};
use crate::process::quote;
use crate::project;

/// A guest to be booted.
pub struct Guest {
    kernel: Prepared,
    options: Options,
    /// Shared with the guest, at the same path there.
    out: PathBuf,
    /// Whether `out` was made for this run.
    temporary: bool,
}

/// How a guest's run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The script ended with this status.
    Exited(u8),
    /// It was still running when its time was up.
    TimedOut,
    /// QEMU ended, and no status was left.
    Died,
}

impl Outcome {
    /// As an exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::TimedOut => 124,
            Self::Died => 125,
        }
    }
}

/// A guest that runs.
pub struct Running<'a> {
    guest: &'a Guest,
    qemu: Child,
}

impl Guest {
    /// A guest with this kernel. Its results go where OUT says, else to a temporary folder.
    pub fn new(kernel: Kernel, options: &Options) -> Result<Self> {
        let chosen = env::var_os("OUT").map(PathBuf::from);
        let temporary = chosen.is_none();
        let out = chosen.unwrap_or_else(|| env::temp_dir().join(format!("l2xdp-vm-{}", process::id())));
        let control = out.join(".vm");
        fs::create_dir_all(&control).with_context(|| format!("cannot make {}", control.display()))?;
        let out = out.canonicalize()?;
        Ok(Self { kernel: kernel.prepare()?, options: options.clone(), out, temporary })
    }

    /// What `uname -r` will say in it.
    pub fn release(&self) -> Result<String> {
        self.kernel.release()
    }

    /// Boots, and runs a script of bash in this process's directory; what it prints goes to `stdout`.
    pub fn boot(&self, script: &str, stdout: Stdio) -> Result<Running<'_>> {
        let control = self.control();
        let _ = fs::remove_file(control.join("status"));
        fs::write(control.join("script"), self.preamble()? + script + "\n")?;
        fs::copy(project::root().join("xtask/vm/guest.sh"), control.join("guest.sh"))?;
        let mut command = machine::command(&self.kernel, &self.options, &self.out, &self.console());
        // Standard input must not end: QEMU would close the port, and the guest's writes would block.
        let qemu =
            command.stdin(Stdio::piped()).stdout(stdout).spawn().context("cannot run timeout and QEMU")?;
        Ok(Running { guest: self, qemu })
    }

    /// Says where the results are, or takes an empty temporary folder away.
    pub fn report_results(&self) {
        if !self.temporary {
            return;
        }
        let _ = fs::remove_dir_all(self.control());
        if fs::remove_dir(&self.out).is_err() {
            eprintln!("vm: the results are in {}", self.out.display());
        }
    }

    /// What became of a guest that left no status, with the last lines of its console.
    pub fn epitaph(&self, outcome: &Outcome) -> String {
        let what = match outcome {
            Outcome::TimedOut => format!("the guest was stopped after {} s", self.options.timeout),
            _ => "the guest died".to_owned(),
        };
        let console = fs::read(self.console()).unwrap_or_default();
        let console = telling(&String::from_utf8_lossy(&console));
        format!("{what}; its console ({}) says:\n{console}", self.console().display())
    }

    fn preamble(&self) -> Result<String> {
        let cwd = env::current_dir().context("cannot tell the current directory")?;
        let variable = |name: &str| quote(&env::var(name).unwrap_or_default());
        Ok(format!(
            "export PATH={}:/usr/sbin:/sbin HOME={} OUT={} TERM=dumb\ncd {}\n",
            variable("PATH"),
            variable("HOME"),
            path_quoted(&self.out),
            path_quoted(&cwd)
        ))
    }

    fn control(&self) -> PathBuf {
        self.out.join(".vm")
    }

    fn console(&self) -> PathBuf {
        self.control().join("console.log")
    }
}

impl Running<'_> {
    /// What the guest prints, if it was booted with a pipe.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.qemu.stdout.take()
    }

    /// Waits until the guest is gone.
    pub fn wait(mut self) -> Result<Outcome> {
        let _open = self.qemu.stdin.take();
        let ended = self.qemu.wait()?;
        let status = fs::read_to_string(self.guest.control().join("status")).unwrap_or_default();
        Ok(match status.trim().parse() {
            Ok(status) => Outcome::Exited(status),
            Err(_) if ended.code() == Some(124) => Outcome::TimedOut,
            Err(_) => Outcome::Died,
        })
    }
}

/// Where a kernel's trouble begins, and how its console ends.
fn telling(console: &str) -> String {
    const TROUBLE: [&str; 4] = ["BUG:", "Oops", "panic", "stall"];
    const FROM_TROUBLE: usize = 60;
    const LAST: usize = 20;
    let lines: Vec<_> = console.lines().collect();
    let last = lines.len().saturating_sub(LAST);
    let first = lines.iter().position(|line| TROUBLE.iter().any(|word| line.contains(word)));
    let first = first.unwrap_or(last).min(last);
    let until = (first + FROM_TROUBLE).min(last);
    let gap: &[&str] = if until < last { &["…"] } else { &[] };
    [&lines[first..until], gap, &lines[last..]].concat().join("\n")
}

fn path_quoted(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_told_from_where_the_trouble_begins() {
        let lines = |range: std::ops::Range<u32>| range.map(|line| line.to_string()).collect::<Vec<_>>();
        let console =
            [lines(0..100), vec!["watchdog: BUG: soft lockup".to_owned()], lines(100..300)].concat();
        let told = telling(&console.join("\n"));
        assert!(told.starts_with("watchdog: BUG: soft lockup\n100\n"), "{told}");
        assert!(told.contains("\n158\n…\n280\n") && told.ends_with("\n299"), "{told}");
        assert_eq!(telling(&lines(0..30).join("\n")), lines(10..30).join("\n"));
        assert_eq!(telling("panic\n1"), "panic\n1");
        assert_eq!(telling(""), "");
    }
}
