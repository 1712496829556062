//! Runs scenarios and measurements; see the library for how it is built.

use std::process::ExitCode;

use clap::Parser;
use hil::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(&Cli::parse()) {
        Ok(passed) => ExitCode::from(u8::from(!passed)),
        Err(error) => {
            eprintln!("hil: {error:#}");
            ExitCode::from(2)
        }
    }
}
