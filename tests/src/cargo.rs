//! Where the workspace is, and the gateway's binary, built when it is missing or old.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// Returns the root folder of the workspace.
#[must_use]
pub fn workspace_root() -> PathBuf {
    // At run time cargo says where the package is; the compiled-in folder is only for a test
    // binary that is started by hand.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = PathBuf::from(manifest);
    package.parent().map(PathBuf::from).unwrap_or(package)
}

/// Returns the folder that cargo builds into.
#[must_use]
pub fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || workspace_root().join("target"),
        |directory| workspace_root().join(directory),
    )
}

/// How the gateway is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quickly; what tests run.
    Dev,
    /// For use; what is measured.
    Release,
}

impl Profile {
    /// Returns the profile that `SANDGROUSE_PROFILE` names, `dev` or `release`; the first
    /// where it names none.
    #[must_use]
    pub fn from_env() -> Self {
        match std::env::var("SANDGROUSE_PROFILE").as_deref() {
            Ok("release") => Self::Release,
            _ => Self::Dev,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }
}

/// Builds the gateway, if it is missing or old, and returns the path of its binary. It is
/// looked at once per process and profile.
///
/// `SANDGROUSE_BIN` names a binary to use as it is instead.
///
/// # Errors
/// Where the build fails; the message holds what the compiler said.
pub fn gateway_binary(profile: Profile) -> Result<PathBuf> {
    static DEV: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    static RELEASE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let binary = match profile {
        Profile::Dev => &DEV,
        Profile::Release => &RELEASE,
    };
    let built = binary.get_or_init(|| find_or_build(profile).map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn find_or_build(profile: Profile) -> Result<PathBuf> {
    if let Some(binary) = std::env::var_os("SANDGROUSE_BIN") {
        let binary = PathBuf::from(binary);
        if !binary.is_file() {
            bail!("SANDGROUSE_BIN names no file: {}", binary.display());
        }
        return Ok(binary);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--package", "gateway", "--bin", "sandgrouse"])
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--profile", profile.name()])
        .current_dir(workspace_root())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!(
            "the gateway does not build:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    executable_in(&messages).context("cargo named no executable of the gateway")
}

/// Finds the binary's path in cargo's messages, so that no target folder has to be guessed.
fn executable_in(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "sandgrouse")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_other_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"gateway"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"sandgrouse"},"executable":"/a b/sandgrouse"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable_in(messages), Some("/a b/sandgrouse".into()));
        assert_eq!(executable_in(""), None);
    }

    #[test]
    fn the_root_holds_the_workspace_manifest() {
        let manifest = std::fs::read_to_string(workspace_root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
