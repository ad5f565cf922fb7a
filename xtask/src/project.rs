//! The workspace this xtask belongs to, and what is built of it.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::process;

/// Something cargo built, as it reports it in JSON.
#[derive(Debug, Deserialize)]
pub struct Artifact {
    /// The crate's manifest.
    pub manifest_path: PathBuf,
    /// What it was built of.
    pub target: Target,
    /// How it was built.
    pub profile: Profile,
    /// The program, where the artifact is one.
    pub executable: Option<PathBuf>,
}

/// A target of a crate: a library, a program, an integration test.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its main source file.
    pub src_path: PathBuf,
}

/// How something was built.
#[derive(Debug, Deserialize)]
pub struct Profile {
    /// As a test.
    pub test: bool,
}

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// The cargo that runs this xtask, in the workspace's root.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.current_dir(root());
    cargo
}

/// Builds l2xdp as it is released, and says where it is.
pub fn build_loader() -> Result<PathBuf> {
    let built = build(cargo().args(["build", "--release", "--package=l2xdp", "--bin=l2xdp"]))?;
    let loader = built.into_iter().find(|artifact| artifact.target.name == "l2xdp");
    loader.and_then(|artifact| artifact.executable).context("cargo built no program named l2xdp")
}

/// Runs a build; its messages go to the terminal, its programs are returned.
pub fn build(cargo: &mut Command) -> Result<Vec<Artifact>> {
    let cargo = cargo.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let mut child = cargo.spawn().with_context(|| format!("cannot run {}", process::shown(cargo)))?;
    let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
    let mut built = Vec::new();
    for line in BufReader::new(stdout).lines() {
        built.extend(program(&line?)?);
    }
    let status = child.wait()?;
    ensure!(status.success(), "{} failed ({status})", process::shown(cargo));
    Ok(built)
}

/// The program that a line of cargo's JSON reports, if it reports one.
fn program(line: &str) -> Result<Option<Artifact>> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
    }
    let context = || format!("cannot read cargo's message {line}");
    let message: Message = serde_json::from_str(line).with_context(context)?;
    if message.reason != "compiler-artifact" {
        return Ok(None);
    }
    let artifact: Artifact = serde_json::from_str(line).with_context(context)?;
    Ok(artifact.executable.is_some().then_some(artifact))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_are_kept() {
        let line = |reason: &str, executable: &str| {
            format!(
                r#"{{"reason":"{reason}","manifest_path":"/w/tests/Cargo.toml","executable":{executable},"profile":{{"test":true}},
                "target":{{"name":"kernel","src_path":"/w/tests/tests/kernel.rs"}}}}"#
            )
        };
        let program = |reason, executable| program(&line(reason, executable)).unwrap();

        let kernel = program("compiler-artifact", r#""/t/kernel-1""#).unwrap();
        assert_eq!(kernel.executable.unwrap(), Path::new("/t/kernel-1"));
        assert_eq!(kernel.target.name, "kernel");
        assert!(program("compiler-artifact", "null").is_none());
        assert!(program("build-script-executed", "null").is_none());
    }
}
