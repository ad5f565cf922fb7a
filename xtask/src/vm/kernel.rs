//! The kernels the VM can boot: fetched from Debian, unpacked once, kept in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::{process, project, toolchain};

/// A kernel of Debian's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kernel {
    /// Debian 12's own: the oldest that l2xdp supports.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 12's backport.
    #[value(name = "6.12")]
    V6_12,
    /// The newest that Debian backports.
    #[value(name = "newest")]
    Newest,
}

/// A kernel that is ready to boot.
#[derive(Debug)]
pub struct Prepared {
    dir: PathBuf,
}

impl Kernel {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::Newest => "newest",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V6_1 => "bookworm",
            Self::V6_12 => "bookworm-backports",
            Self::Newest => "trixie-backports",
        }
    }

    /// Fetches and unpacks the kernel, unless that was done before by the same scripts.
    pub fn prepare(self) -> Result<Prepared> {
        ensure!(
            env::consts::ARCH == "x86_64",
            "the VM runs x86-64 kernels, and this is {}",
            env::consts::ARCH
        );
        let scripts = project::root().join("xtask/vm");
        let recipe = read(&scripts.join("prepare.sh"))? + &read(&scripts.join("init.sh"))?;
        let dir = toolchain::cache_dir().join("vm").join(self.name());
        if fs::read_to_string(dir.join("recipe")).is_ok_and(|stamped| stamped == recipe) {
            return Ok(Prepared { dir });
        }

        eprintln!("vm: fetching and unpacking Debian's kernel {} (once)", self.name());
        let start = Instant::now();
        // Whoever else prepares or runs the same kernel at this moment is not disturbed by half of one.
        let unfinished = dir.with_file_name(format!("{}.{}", self.name(), std::process::id()));
        process::run_quietly(Command::new(scripts.join("prepare.sh")).arg(self.suite()).arg(&unfinished))
            .with_context(|| format!("cannot make kernel {} of {}'s packages", self.name(), self.suite()))?;
        let _ = fs::remove_dir_all(&dir);
        fs::write(unfinished.join("recipe"), recipe)
            .and_then(|()| fs::rename(&unfinished, &dir))
            .with_context(|| format!("cannot put the kernel into {}", dir.display()))?;
        let prepared = Prepared { dir };
        eprintln!("vm: {}, done in {:.1} s", prepared.release()?, start.elapsed().as_secs_f32());
        Ok(prepared)
    }
}

impl Prepared {
    /// What to boot.
    pub fn vmlinux(&self) -> PathBuf {
        self.dir.join("vmlinux")
    }

    /// What to boot it with.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }

    /// Its /lib/modules.
    pub fn modules(&self) -> PathBuf {
        self.dir.join("modules/lib/modules")
    }

    /// What `uname -r` says in it.
    pub fn release(&self) -> Result<String> {
        Ok(read(&self.dir.join("release"))?.trim().to_owned())
    }
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
