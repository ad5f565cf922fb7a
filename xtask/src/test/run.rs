//! Runs one test program, here or in the VM: its output goes to the terminal and into its report.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result};

use super::report::Report;
use super::{needs_namespaces, source};
use crate::process::shown;
use crate::project::{self, Artifact};
use crate::setup::{self, Need};
use crate::vm::{Guest, Kernel, Options, Outcome};

/// What all test programs are given.
pub struct Plan {
    /// The release build of the loader; L2XDP_LOADER tells the tests.
    pub loader: PathBuf,
    /// Part of the names of the tests to run.
    pub filter: Option<String>,
}

/// The time a guest has for its tests, emulated as it may be.
const VM_SECONDS: u32 = 1200;

/// Runs a test program on this machine.
pub fn on_host(plan: &Plan, test: &Artifact) -> Report {
    let layer = if needs_namespaces(test) { running_kernel() } else { "host".to_owned() };
    command(plan, test).map_or_else(
        |error| Report::broken(&layer, &name(test), &format!("{error:#}")),
        |command| observe(command, Report::new(&layer, &name(test))),
    )
}

/// The layer of tests that ask the kernel, the one that runs here being one of several.
fn running_kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("running {}", release.trim())
}

/// Runs the examples in the documentation.
pub fn documentation(plan: &Plan) -> Report {
    let mut cargo = project::cargo();
    cargo.args(["test", "--workspace", "--doc", "--no-fail-fast", "--quiet", "--"]).args(&plan.filter);
    observe(cargo, Report::new("host", "examples in the documentation"))
}

/// Runs a test program under another kernel, which is booted for it alone.
pub fn in_vm(plan: &Plan, test: &Artifact, kernel: Kernel) -> Report {
    let guest = setup::ensure(&[Need::Vm]).and_then(|()| {
        let options = Options { timeout: VM_SECONDS, ..Options::default() };
        let guest = Guest::new(kernel, &options)?;
        Ok((format!("VM {}", guest.release()?), guest))
    });
    let (layer, guest) = match guest {
        Ok(ready) => ready,
        Err(error) => {
            let layer = format!("VM {}", kernel.name());
            return Report::skipped(&layer, &name(test), &format!("no VM can be had: {error:#}"));
        }
    };
    let mut report = Report::new(&layer, &name(test));
    if let Err(error) = observe_guest(plan, test, &guest, &mut report) {
        report.fail(&format!("{error:#}"));
    }
    report
}

fn observe_guest(plan: &Plan, test: &Artifact, guest: &Guest, report: &mut Report) -> Result<()> {
    announce(report);
    let command = command(plan, test)?;
    let mut running = guest.boot(&as_script(&command), Stdio::piped())?;
    read(running.stdout(), report)?;
    match running.wait()? {
        Outcome::Exited(status) => {
            report.end(ExitStatus::from_raw(i32::from(status) << 8));
            guest.report_results();
        }
        outcome => report.fail(&guest.epitaph(&outcome)),
    }
    Ok(())
}

/// The test program, as cargo would run it: in its crate's folder.
fn command(plan: &Plan, test: &Artifact) -> Result<Command> {
    let mut command = Command::new(test.executable.as_ref().context("cargo built no program of it")?);
    let folder = test.manifest_path.parent().unwrap_or(Path::new("/"));
    command.args(&plan.filter).current_dir(folder);
    command.env("CARGO_MANIFEST_DIR", folder).env("L2XDP_LOADER", &plan.loader);
    Ok(command)
}

/// The same for a shell, with its folder and its variables.
fn as_script(command: &Command) -> String {
    let mut env = Command::new("env");
    env.arg("--chdir").arg(command.get_current_dir().unwrap_or(Path::new("/")));
    for (name, value) in command.get_envs() {
        env.arg(format!("{}={}", name.to_string_lossy(), value.unwrap_or_default().to_string_lossy()));
    }
    format!("{} {}", shown(&env), shown(command))
}

fn observe(mut command: Command, mut report: Report) -> Report {
    announce(&report);
    match run_observed(&mut command, &mut report) {
        Ok(status) => report.end(status),
        Err(error) => report.fail(&format!("{error:#}")),
    }
    report
}

fn run_observed(command: &mut Command, report: &mut Report) -> Result<ExitStatus> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("cannot run {}", shown(command)))?;
    read(child.stdout.take(), report)?;
    Ok(child.wait()?)
}

fn read(output: Option<impl Read>, report: &mut Report) -> Result<()> {
    let mut output = BufReader::new(output.context("the output was not asked for as a pipe")?);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        report.read(text.trim_end());
        line.clear();
    }
    Ok(())
}

fn announce(report: &Report) {
    println!("\n── {}: {}", report.layer, report.source);
}

fn name(test: &Artifact) -> String {
    source(test).display().to_string()
}
