//! From arguments and lines to entries: what is given, and what is written about it.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use super::dissect::{Dissection, dissect};
use super::frames::{BrokenFrame, Frames};
use super::hex::{self, HexError};
use super::{DecodeArgs, DecodeError, Verdict, human, json};

/// Where a datagram was given.
#[derive(Clone, Debug)]
pub(super) enum Origin {
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

/// Why octets did not even come to be a datagram.
#[derive(Clone, Debug)]
pub(super) enum Unreadable {
    /// The text is no hex.
    Hex(HexError),
    /// The frame is broken.
    Frame(BrokenFrame),
}

/// Writes one entry per datagram and remembers whether all were valid.
pub(super) struct Report<W> {
    out: W,
    json: bool,
    frames: Option<Frames>,
    count: usize,
    pub(super) verdict: Verdict,
}

impl<W: Write> Report<W> {
    /// Creates a report in JSON or for people; `framed` takes the octets of a serial line.
    pub(super) fn new(out: W, json: bool, framed: bool) -> Self {
        Self {
            out,
            json,
            frames: framed.then(Frames::default),
            count: 0,
            verdict: Verdict::AllValid,
        }
    }

    /// Reports all that `args` names.
    pub(super) fn all(
        &mut self,
        args: &DecodeArgs,
        stdin: impl BufRead,
    ) -> Result<(), DecodeError> {
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
            self.given(&Origin::Argument(1), Ok(dump))?;
            return self.cut_frame(&Origin::Argument(1));
        }
        for (number, argument) in (1..).zip(arguments) {
            if argument == "-" {
                self.lines("stdin", &mut stdin)?;
            } else {
                self.given(&Origin::Argument(number), hex::octets(argument))?;
            }
        }
        self.cut_frame(&Origin::Argument(arguments.len()))
    }

    fn file(&mut self, path: &Path) -> Result<(), DecodeError> {
        let file = File::open(path).map_err(|cause| DecodeError::Open {
            path: path.to_owned(),
            cause,
        })?;
        self.lines(&path.display().to_string(), BufReader::new(file))
    }

    fn lines(&mut self, of: &str, mut input: impl BufRead) -> Result<(), DecodeError> {
        let line_of = |number| Origin::Line {
            of: of.to_owned(),
            number,
        };
        let mut line = Vec::new();
        let mut read = 0;
        loop {
            line.clear();
            match input.read_until(b'\n', &mut line) {
                Ok(0) => return self.cut_frame(&line_of(read)),
                Ok(_) => read += 1,
                Err(cause) => {
                    let from = line_of(read + 1).to_string();
                    return Err(DecodeError::Read { from, cause });
                }
            }
            // Not UTF-8 is not hex; the replacement character makes the hex reader say so.
            let line = String::from_utf8_lossy(&line);
            let text = line.split('#').next().unwrap_or_default().trim();
            if !text.is_empty() {
                self.given(&line_of(read), hex::octets(text))?;
            }
        }
    }

    /// Reports octets as they came: a datagram, or any part of what a serial line carried.
    fn given(
        &mut self,
        origin: &Origin,
        octets: Result<Vec<u8>, HexError>,
    ) -> Result<(), DecodeError> {
        match (octets, &mut self.frames) {
            (Err(error), _) => self.entry(origin, &Err(Unreadable::Hex(error))),
            (Ok(datagram), None) => self.entry(origin, &Ok(dissect(&datagram))),
            (Ok(octets), Some(frames)) => {
                let ended: Vec<_> = octets
                    .into_iter()
                    .filter_map(|octet| frames.push(octet))
                    .collect();
                ended
                    .into_iter()
                    .try_for_each(|frame| self.frame(origin, frame))
            }
        }
    }

    /// Reports a frame that no delimiter has ended.
    fn cut_frame(&mut self, origin: &Origin) -> Result<(), DecodeError> {
        match self.frames.as_mut().and_then(Frames::end) {
            Some(broken) => self.frame(origin, Err(broken)),
            None => Ok(()),
        }
    }

    fn frame(
        &mut self,
        origin: &Origin,
        frame: Result<Vec<u8>, BrokenFrame>,
    ) -> Result<(), DecodeError> {
        match frame {
            Ok(datagram) => self.entry(origin, &Ok(dissect(&datagram))),
            Err(broken) => self.entry(origin, &Err(Unreadable::Frame(broken))),
        }
    }

    /// Writes one entry.
    pub(super) fn entry(
        &mut self,
        origin: &Origin,
        found: &Result<Dissection<'_>, Unreadable>,
    ) -> Result<(), DecodeError> {
        if !found.as_ref().is_ok_and(Dissection::is_valid) {
            self.verdict = Verdict::SomeInvalid;
        }
        let written = if self.json {
            json::write(&mut self.out, origin, found)
        } else {
            human::write(&mut self.out, self.count > 0, origin, found)
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
