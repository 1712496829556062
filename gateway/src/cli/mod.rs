//! The commands of `sandgrouse`.

pub mod check;
pub mod decode;
mod demo;
pub mod logging;
mod reload;
mod run;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An MQTT-SN gateway for links where every byte is paid for.
///
/// Without a command it runs the gateway; without a configuration it listens on UDP port
/// 10000 and serves an MQTT broker of its own on 127.0.0.1:1883.
#[derive(Debug, Parser)]
#[command(name = "sandgrouse", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (the default)
    Run(run::RunArgs),
    /// Watch the gateway at work with simulated nodes over a bad link
    Demo(demo::DemoArgs),
    /// Check a configuration file and say what it means
    Check(check::CheckArgs),
    /// Name every field of MQTT-SN datagrams
    Decode(decode::DecodeArgs),
}

/// Runs the command that the process was started with and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { command, run } = Cli::parse();
    let outcome = match command.unwrap_or(Command::Run(run)) {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => {
            check::run(&args, &mut io::stdout().lock(), &mut io::stderr().lock())
                .map_err(Into::into)
        }
        Command::Decode(args) => decode::run(args, io::stdin().lock(), io::stdout().lock())
            .map(ExitCode::from)
            .map_err(Into::into),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "sandgrouse: {}", told(&error));
        ExitCode::FAILURE
    })
}

/// Returns an error with those of its causes that it does not tell itself.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn causes_are_told_once() {
        let path = std::path::Path::new("nothere.toml");
        let missing = crate::config::Config::load(path).unwrap_err();
        let text = told(&missing.into());
        assert_eq!(text.matches("No such file").count(), 1, "{text}");
        let error = Err::<(), _>(io::Error::other("no threads")).context("cannot start");
        assert_eq!(told(&error.unwrap_err()), "cannot start: no threads");
    }
}
