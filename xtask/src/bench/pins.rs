//! Names of programs in bpffs, for `tc` to find.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Names in bpffs; they go with this.
pub struct Pins(PathBuf);

impl Pins {
    /// A folder for them; what a run left that was killed goes.
    pub fn create(name: &str) -> Result<Self> {
        let path = Path::new("/sys/fs/bpf").join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// One of them.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
