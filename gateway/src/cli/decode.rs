//! `sandgrouse decode`: names every field of a datagram.
//!
//! What is valid is [`Message::parse`](shared::wire::Message::parse)'s to say, so the command
//! and the running gateway never disagree. For datagrams that it refuses, the command still
//! shows what can be understood up to the fault.

mod dissect;
mod fault;
mod hex;
mod human;
mod json;
mod layout;
mod walk;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use thiserror::Error;

use dissect::dissect;
use hex::HexError;

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
/// Text that is not hex counts as an invalid datagram and does not stop the run. A reader that
/// goes away does, without an error: `sandgrouse decode … | head` is normal use.
///
/// # Errors
/// [`DecodeError`] where the input cannot be read or the output not be written.
pub fn run(
    args: DecodeArgs,
    stdin: impl BufRead,
    stdout: impl Write,
) -> Result<Verdict, DecodeError> {
    let mut report = Report::new(stdout, args.json);
    match report.all(&args, stdin) {
        Err(DecodeError::Write(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    Ok(report.verdict)
}

/// Where a datagram was given.
#[derive(Clone, Debug)]
enum Origin {
    /// The n-th argument, counted from 1.
    Argument(usize),
    /// A line of a file or of the standard input, counted from 1.
    Line { of: String, number: usize },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(number) => write!(f, "argument {number}"),
            Self::Line { of, number } => write!(f, "{of}:{number}"),
        }
    }
}

/// Writes one entry per datagram and remembers whether all were valid.
struct Report<W> {
    out: W,
    json: bool,
    count: usize,
    verdict: Verdict,
}

impl<W: Write> Report<W> {
    const fn new(out: W, json: bool) -> Self {
        Self {
            out,
            json,
            count: 0,
            verdict: Verdict::AllValid,
        }
    }

    fn all(&mut self, args: &DecodeArgs, stdin: impl BufRead) -> Result<(), DecodeError> {
        match &args.file {
            Some(path) => self.file(path)?,
            None if args.datagrams.is_empty() => self.lines("stdin", stdin)?,
            None => self.arguments(&args.datagrams, stdin)?,
        }
        self.out.flush().map_err(DecodeError::Write)
    }

    fn arguments(
        &mut self,
        arguments: &[String],
        mut stdin: impl BufRead,
    ) -> Result<(), DecodeError> {
        if let Some(dump) = joined_octets(arguments) {
            return self.datagram(&Origin::Argument(1), Ok(dump));
        }
        for (number, argument) in (1..).zip(arguments) {
            if argument == "-" {
                self.lines("stdin", &mut stdin)?;
            } else {
                self.datagram(&Origin::Argument(number), hex::octets(argument))?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), DecodeError> {
        let file = File::open(path).map_err(|cause| DecodeError::Open {
            path: path.to_owned(),
            cause,
        })?;
        self.lines(&path.display().to_string(), BufReader::new(file))
    }

    fn lines(&mut self, of: &str, mut input: impl BufRead) -> Result<(), DecodeError> {
        let mut line = Vec::new();
        for number in 1.. {
            let origin = Origin::Line {
                of: of.to_owned(),
                number,
            };
            line.clear();
            match input.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(cause) => {
                    let from = origin.to_string();
                    return Err(DecodeError::Read { from, cause });
                }
            }
            // Not UTF-8 is not hex; the replacement character makes the hex reader say so.
            let line = String::from_utf8_lossy(&line);
            let text = line.split('#').next().unwrap_or_default().trim();
            if !text.is_empty() {
                self.datagram(&origin, hex::octets(text))?;
            }
        }
        Ok(())
    }

    fn datagram(
        &mut self,
        origin: &Origin,
        octets: Result<Vec<u8>, HexError>,
    ) -> Result<(), DecodeError> {
        let dissection = octets.as_deref().map(dissect);
        if !dissection.as_ref().is_ok_and(|found| found.is_valid()) {
            self.verdict = Verdict::SomeInvalid;
        }
        let written = if self.json {
            json::write(&mut self.out, origin, &dissection)
        } else {
            human::write(&mut self.out, self.count > 0, origin, &dissection)
        };
        self.count += 1;
        written.map_err(DecodeError::Write)
    }
}

/// Joins arguments that are all one octet; alone, none of them could be a message.
fn joined_octets(arguments: &[String]) -> Option<Vec<u8>> {
    let octets: Vec<u8> = arguments
        .iter()
        .map(|argument| match *hex::octets(argument).ok()? {
            [octet] => Some(octet),
            _ => None,
        })
        .collect::<Option<_>>()?;
    (octets.len() > 1).then_some(octets)
}

const EXAMPLES: &str = "\
Examples:
  sandgrouse decode 0b0c200005001032312e35
  sandgrouse decode 0b 0c 20 00 05 00 10 32 31 2e 35
  sandgrouse decode --json --file captured.hex

The exit code is 1 where a datagram is not a valid message.";

#[cfg(test)]
mod tests;
