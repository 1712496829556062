//! `sandgrouse decode`: names every field of a datagram.
//!
//! What is valid is [`Message::parse`](shared::wire::Message::parse)'s to say, so the command
//! and the running gateway never disagree. For datagrams that it refuses, the command still
//! shows what can be understood up to the fault.

mod dissect;
mod fault;
mod frames;
mod hex;
mod human;
mod json;
mod layout;
mod report;
mod walk;

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use thiserror::Error;

use report::Report;

/// The arguments of `sandgrouse decode`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DecodeArgs {
    /// Datagrams in hex, one per argument; `-` or none at all reads them from standard input.
    ///
    /// Spaces, colons, commas and 0x are skipped. Arguments of one octet each are taken as one
    /// datagram, so that a dump can be pasted as it is.
    #[arg(value_name = "HEX", conflicts_with = "file")]
    pub datagrams: Vec<String>,

    /// Reads datagrams from FILE, one a line; blank lines and lines from # on are skipped.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Takes the octets of a serial line: frames with COBS and a CRC, as `shared::frame` has
    /// them, which may go on from one line or argument to the next.
    #[arg(long)]
    pub framed: bool,

    /// Writes one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// What became of the datagrams, as the exit code tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Every datagram is a message.
    AllValid,
    /// At least one datagram is none.
    SomeInvalid,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::AllValid => Self::SUCCESS,
            Verdict::SomeInvalid => Self::FAILURE,
        }
    }
}

/// Why the datagrams could not all be read or shown.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The file of datagrams cannot be opened.
    #[error("cannot open {}: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// The file or the standard input breaks off.
    #[error("cannot read {from}: {cause}")]
    Read {
        /// The file and the line, or the standard input and the line.
        from: String,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// The result cannot be written.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
}

/// Decodes the datagrams that `args` names and writes what they hold.
///
/// Text that is not hex and broken frames count as invalid and do not stop the run. A reader that
/// goes away does, without an error: `sandgrouse decode … | head` is normal use.
///
/// # Errors
/// [`DecodeError`] where the input cannot be read or the output not be written.
pub fn run(
    args: DecodeArgs,
    stdin: impl BufRead,
    stdout: impl Write,
) -> Result<Verdict, DecodeError> {
    let mut report = Report::new(stdout, args.json, args.framed);
    match report.all(&args, stdin) {
        Err(DecodeError::Write(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    Ok(report.verdict)
}

const EXAMPLES: &str = "\
Examples:
  sandgrouse decode 0b0c200005001032312e35
  sandgrouse decode 0b 0c 20 00 05 00 10 32 31 2e 35
  sandgrouse decode --json --file captured.hex
  sandgrouse decode --framed 05 02 17 c9 58 00

The exit code is 1 where a datagram is not a valid message.";

#[cfg(test)]
mod tests;
