//! The independent client: `mqtt-sn-12` from PyPI, in an environment of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{Process, target_directory, workspace_root};

/// A Python with `mqtt-sn-12` installed; `tests/run` makes it.
#[derive(Clone, Debug)]
pub struct PythonClient {
    python: PathBuf,
}

impl PythonClient {
    /// Finds the environment that `tests/run` has made below the target folder.
    ///
    /// # Errors
    /// Where it is missing or cannot import the client; the message names `tests/run`.
    pub fn find() -> Result<Self> {
        let python = std::env::var_os("SANDGROUSE_PYTHON").map_or_else(
            || target_directory().join("interop-venv/bin/python"),
            PathBuf::from,
        );
        let import = Command::new(&python)
            .args(["-c", "import mqttsn12.client.MqttSnClient"])
            .output();
        match import {
            Ok(output) if output.status.success() => Ok(Self { python }),
            _ => bail!(
                "no Python with the client mqtt-sn-12 at {}: run tests/run, which installs it",
                python.display()
            ),
        }
    }

    /// Starts a script of `tests/interop` with `arguments`.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn run(&self, script: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = Command::new(&self.python);
        command
            // Unbuffered, so that a line is seen when it is printed.
            .arg("-u")
            .arg(workspace_root().join("tests/interop").join(script))
            .args(arguments);
        Process::spawn(script, &mut command)
    }
}
