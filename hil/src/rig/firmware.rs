//! The node firmware as a file, built where it is missing or old.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// A firmware binary for one board.
#[derive(Clone, Debug)]
pub struct Firmware {
    path: PathBuf,
}

impl Firmware {
    /// Takes a binary as it is.
    ///
    /// # Errors
    /// Where there is none at `path`.
    pub fn at(path: &Path) -> Result<Self> {
        ensure!(path.is_file(), "no firmware at {}", path.display());
        Ok(Self {
            path: path.to_path_buf(),
        })
    }

    /// Builds the firmware of `board` with `node-firmware/build`; a fresh one costs a second.
    ///
    /// # Errors
    /// Where the build fails; the message holds what it said last.
    pub fn build(board: &str, triple: &str) -> Result<Self> {
        let folder = ::tests::workspace_root().join("node-firmware");
        let output = Command::new(folder.join("build"))
            .arg(board)
            .output()
            .context("cannot start node-firmware/build")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = said.lines().collect();
            bail!(
                "the firmware of {board} does not build:\n{}",
                lines[lines.len().saturating_sub(20)..].join("\n")
            );
        }
        // The script runs inside the folder, which a relative target folder is relative to.
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        Self::at(&folder.join(target).join(triple).join("release").join(board))
    }

    /// Returns where the binary is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
