//! What every bench is told.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use l2xdp_tests::command::{self, SOON};

use super::report::{Figures, Report};

/// What every bench is told.
pub struct Setting {
    /// The l2xdp to measure.
    pub loader: PathBuf,
    /// How often every candidate is measured.
    pub rounds: usize,
    /// Whether time is a count of instructions: under emulation, where less is enough, as nothing disturbs it.
    pub counted: bool,
}

impl Setting {
    /// A report of these figures, to be completed.
    pub fn report(&self, figures: Figures) -> Result<Report> {
        let kernel = command::run(Command::new("uname").arg("-r"), SOON)?;
        Ok(Report {
            bench: String::new(),
            kernel: kernel.trim().to_owned(),
            unit: String::new(),
            notes: Vec::new(),
            rounds: self.rounds,
            reference: String::new(),
            common: None,
            absolute: Vec::new(),
            pairs: Vec::new(),
            figures,
        })
    }
}
