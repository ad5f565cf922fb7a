//! A directory for logs, captures and configuration, removed in the end.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A directory under `/run`, where only root can write.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    kept: bool,
}

impl WorkDir {
    /// An empty one; an earlier one of that name goes.
    pub fn create(name: &str) -> Result<Self> {
        let path = Path::new("/run").join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, kept: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Lets it stay.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
