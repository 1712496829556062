//! `sandgrouse check`: what a configuration says, or what is wrong with it.

mod keys;
mod link;
mod node;
mod summary;
mod values;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

pub use keys::keys_text;
pub use summary::summary_text;

use crate::config::{ConfigError, Problems, Reading};
use crate::driver::check_upstream;
use crate::upstream::UpstreamConfigError;
use keys::keys_json;
use node::Answer;
use summary::summary_json;
use values::{values_json, values_text};

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
    /// Print every key with the value that holds, be it written, a default or from a preset
    #[arg(long, conflicts_with_all = ["keys", "node"])]
    pub values: bool,
    /// Say which rule holds for a node, and what it allows
    #[arg(long, value_name = "CLIENT_ID", conflicts_with = "keys")]
    pub node: Option<String>,
    /// The link on which the node is heard
    #[arg(long, value_name = "NAME", requires = "node")]
    pub link: Option<String>,
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
    let told = load(&file).and_then(|reading| {
        Ok(if args.json {
            let mut value = answer_json(args, &reading)?;
            value["valid"] = json!(true);
            value["warnings"] = located_json(&reading.warnings);
            pretty(&value)
        } else {
            let text = answer_text(args, &reading)?;
            let mut told = format!("{} is valid\n", file.display());
            for warning in &reading.warnings.list {
                told.push_str(&format!("{}:{warning} (warning)\n", reading.warnings.file));
            }
            told + &text
        })
    });
    match (told, args.json) {
        (Ok(told), _) => out.write_all(told.as_bytes())?,
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

fn answer_text(args: &CheckArgs, reading: &Reading) -> Result<String, CheckError> {
    Ok(match &args.node {
        Some(node) => Answer::new(&reading.config, node, args.link.as_deref())?.text(),
        None if args.values => values_text(&reading.values),
        None => summary_text(&reading.config),
    })
}

fn answer_json(args: &CheckArgs, reading: &Reading) -> Result<Value, CheckError> {
    Ok(match &args.node {
        Some(node) => Answer::new(&reading.config, node, args.link.as_deref())?.json(),
        None if args.values => values_json(&reading.values),
        None => summary_json(&reading.config),
    })
}

/// Reads a file and checks it as far as `sandgrouse run` does before it opens anything.
pub(super) fn load(file: &Path) -> Result<Reading, CheckError> {
    let reading = Reading::load(file)?;
    check_upstream(&reading.config).map_err(|source| CheckError::Upstream {
        file: file.to_owned(),
        source,
    })?;
    Ok(reading)
}

/// What is wrong with a configuration, or with what was asked about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// The file cannot be read, or what stands in it is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The upstream cannot be started with it.
    #[error("{}: {source}", file.display())]
    Upstream {
        file: PathBuf,
        source: UpstreamConfigError,
    },
    /// There is no such link.
    #[error("--link {name}: no link has this name; there are {links}")]
    NoLink { name: String, links: String },
}

fn problems_json(error: &CheckError) -> Value {
    let problems: Value = match error {
        CheckError::Config(ConfigError::Invalid(problems)) => located_json(problems),
        CheckError::Config(ConfigError::Read { path, source }) => json!([{
            "file": path.display().to_string(),
            "message": source.to_string(),
        }]),
        CheckError::Upstream { file, source } => json!([{
            "file": file.display().to_string(),
            "key": "upstream",
            "message": source.to_string(),
        }]),
        CheckError::NoLink { .. } => json!([{ "message": error.to_string() }]),
    };
    json!({ "valid": false, "problems": problems })
}

fn located_json(problems: &Problems) -> Value {
    let list = problems.list.iter().map(|problem| {
        json!({
            "file": problems.file,
            "line": problem.line,
            "column": problem.column,
            "key": problem.key,
            "message": problem.message,
        })
    });
    list.collect()
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests;
