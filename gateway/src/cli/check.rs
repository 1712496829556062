//! `sandgrouse check`: what a configuration says, or what is wrong with it.

mod keys;
mod summary;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

pub use keys::keys_text;
pub use summary::summary_text;

use crate::config::{Config, ConfigError};
use crate::driver::check_upstream;
use crate::upstream::UpstreamConfigError;
use keys::keys_json;
use summary::summary_json;

/// Checks a configuration file and says what it does, or what is wrong and where.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The file to check
    #[arg(required_unless_present = "keys")]
    pub file: Option<PathBuf>,
    /// Print JSON instead of lines
    #[arg(long)]
    pub json: bool,
    /// Print every key with its type, default and bounds, and check nothing
    #[arg(long, conflicts_with = "file")]
    pub keys: bool,
}

/// Runs the command. What was asked for goes to `out`, what is wrong to `err`; as JSON,
/// both go to `out`.
///
/// # Errors
///
/// Whatever writing fails with.
pub fn run(args: &CheckArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    if args.keys {
        let text = if args.json {
            pretty(&keys_json())
        } else {
            keys_text()
        };
        out.write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = args.file.clone().unwrap_or_default();
    match (load(&file), args.json) {
        (Ok(config), true) => {
            let mut value = summary_json(&config);
            value["valid"] = json!(true);
            out.write_all(pretty(&value).as_bytes())?;
        }
        (Ok(config), false) => {
            writeln!(out, "{} is valid", file.display())?;
            out.write_all(summary_text(&config).as_bytes())?;
        }
        (Err(error), true) => {
            out.write_all(pretty(&problems_json(&error)).as_bytes())?;
            return Ok(ExitCode::FAILURE);
        }
        (Err(error), false) => {
            writeln!(err, "{error}")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a file and checks it as far as `sandgrouse run` does before it opens anything.
fn load(file: &Path) -> Result<Config, CheckError> {
    let config = Config::load(file)?;
    check_upstream(&config).map_err(|source| CheckError::Upstream {
        file: file.to_owned(),
        source,
    })?;
    Ok(config)
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    /// The file cannot be read, or what stands in it is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The upstream cannot be started with it.
    #[error("{}: {source}", file.display())]
    Upstream {
        file: PathBuf,
        source: UpstreamConfigError,
    },
}

fn problems_json(error: &CheckError) -> Value {
    let problems: Vec<Value> = match error {
        CheckError::Config(ConfigError::Invalid(problems)) => problems
            .list
            .iter()
            .map(|problem| {
                json!({
                    "file": problems.file,
                    "line": problem.line,
                    "column": problem.column,
                    "key": problem.key,
                    "message": problem.message,
                })
            })
            .collect(),
        CheckError::Config(ConfigError::Read { path, source }) => vec![json!({
            "file": path.display().to_string(),
            "message": source.to_string(),
        })],
        CheckError::Upstream { file, source } => vec![json!({
            "file": file.display().to_string(),
            "key": "upstream",
            "message": source.to_string(),
        })],
    };
    json!({ "valid": false, "problems": problems })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests;
