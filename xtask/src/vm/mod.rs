//! `cargo xtask vm`: one command under another kernel, with this machine's files around it.

mod guest;
mod kernel;
mod machine;

use std::process::{ExitCode, Stdio};

use anyhow::Result;

use crate::process::quote;
use crate::setup::{self, Need};

pub use guest::{Guest, Outcome};
pub use kernel::Kernel;
pub use machine::Options;

/// The options of `cargo xtask vm`.
#[derive(clap::Args)]
pub struct Args {
    /// Debian's kernel to boot.
    #[arg(long, value_enum, default_value_t = Kernel::V6_1)]
    kernel: Kernel,
    #[command(flatten)]
    options: Options,
    /// What to run: one argument is a line of shell, several are a program and its arguments.
    ///
    /// It runs as root in this directory. The machine's files are there, but what it writes to them is lost; what
    /// it leaves in $OUT comes out (to the directory that OUT names here, else to a temporary one).
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the command, and ends with its exit status: 124 if it took too long, 125 if the guest died.
pub fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(&[Need::Vm])?;
    let guest = Guest::new(args.kernel, &args.options)?;
    let outcome = guest.boot(&script(&args.command), Stdio::inherit())?.wait()?;
    match &outcome {
        Outcome::Exited(_) => guest.report_results(),
        Outcome::TimedOut | Outcome::Died => eprintln!("xtask: {}", guest.epitaph(&outcome)),
    }
    Ok(ExitCode::from(outcome.status()))
}

fn script(command: &[String]) -> String {
    match command {
        [line] => line.clone(),
        words => words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_argument_is_shell_and_several_are_words() {
        let script =
            |words: &[&str]| script(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(script(&["modprobe l2tp_eth && echo $?"]), "modprobe l2tp_eth && echo $?");
        assert_eq!(script(&["echo", "a b", "$?"]), "echo 'a b' '$?'");
    }
}
