//! Other programs run to their end, within a limit of time, with errors that show what was run and what it said.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::interrupt;

/// The time for a command that has nothing to wait for.
pub const SOON: Duration = Duration::from_secs(10);

/// What a command prints on standard output, if it succeeds.
pub fn run(command: &mut Command, limit: Duration) -> Result<String> {
    let output = finish(command, limit)?;
    succeeded(command, output)
}

/// Runs a command to its end, be it a good one or not; Ctrl-C ends it.
pub fn finish(command: &mut Command, limit: Duration) -> Result<Output> {
    finish_unless(command, limit, interrupt::came)
}

/// As [`run`], but for cleaning up: Ctrl-C does not end it.
pub fn run_to_the_end(command: &mut Command) -> Result<String> {
    let output = finish_unless(command, SOON, || false)?;
    succeeded(command, output)
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn succeeded(command: &Command, output: Output) -> Result<String> {
    ensure!(output.status.success(), "{} failed ({}){}", shown(command), output.status, said(&output));
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no UTF-8", shown(command)))
}

/// What a command had to say: its complaints, or whatever else it printed.
fn said(output: &Output) -> String {
    let text = [&output.stderr, &output.stdout].map(|text| String::from_utf8_lossy(text).trim().to_owned());
    let text = text.into_iter().find(|text| !text.is_empty());
    text.map(|text| format!(": {text}")).unwrap_or_default()
}

fn finish_unless(command: &mut Command, limit: Duration, cancelled: fn() -> bool) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Out of reach of the terminal's Ctrl-C: what runs is ended in order, by us.
    let mut child =
        command.process_group(0).spawn().with_context(|| format!("cannot run {}", shown(command)))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let ended = wait(&mut child, limit, cancelled)?;
    let collect = |pipe: JoinHandle<Vec<u8>>| pipe.join().unwrap_or_default();
    let (stdout, stderr) = (collect(stdout), collect(stderr));
    match ended {
        Ended::Itself(status) => Ok(Output { status, stdout, stderr }),
        Ended::Late(status) => {
            let output = Output { status, stdout, stderr };
            bail!("{} did not end within {} s{}", shown(command), limit.as_secs_f32(), said(&output))
        }
        Ended::Cancelled => bail!("{} was interrupted", shown(command)),
    }
}

enum Ended {
    Itself(ExitStatus),
    Late(ExitStatus),
    Cancelled,
}

fn wait(child: &mut Child, limit: Duration, cancelled: fn() -> bool) -> Result<Ended> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Itself(status));
        }
        let cancelled = cancelled();
        if cancelled || Instant::now() >= deadline {
            child.kill()?;
            let status = child.wait()?;
            return Ok(if cancelled { Ended::Cancelled } else { Ended::Late(status) });
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<String> {
        run(Command::new("sh").args(["-c", script]), limit)
    }

    #[test]
    fn what_succeeds_gives_its_output() {
        assert_eq!(sh("echo well", SOON).unwrap(), "well\n");
    }

    #[test]
    fn what_fails_shows_command_status_and_complaint() {
        let error = sh("echo oh no >&2; exit 3", SOON).unwrap_err().to_string();
        assert_eq!(error, "sh -c 'echo oh no >&2; exit 3' failed (exit status: 3): oh no");
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        let start = Instant::now();
        let error = sh("echo wait; exec sleep 60", Duration::from_millis(200)).unwrap_err().to_string();
        assert_eq!(error, "sh -c 'echo wait; exec sleep 60' did not end within 0.2 s: wait");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = run(&mut Command::new("no-such-program"), SOON).unwrap_err();
        assert_eq!(error.to_string(), "cannot run no-such-program");
    }
}
