//! The view: a line for each message on the standard output.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use shared::time::Instant;

use super::BROKER_PORT;
use super::event::{Arrival, Event, Loss, Start, Way};
use super::summary::Summary;

/// Writes the lines, for people or for machines.
pub(super) struct View {
    out: Box<dyn Write>,
    style: Style,
    shows_air: bool,
    name_width: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Colour,
    Json,
}

impl View {
    /// Creates the view on the standard output.
    pub(super) fn new(json: bool, shows_air: bool) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let style = match json {
            true => Style::Json,
            false if io::stdout().is_terminal() && !no_colour => Style::Colour,
            false => Style::Plain,
        };
        Self::on(Box::new(io::stdout()), style, shows_air)
    }

    fn on(out: Box<dyn Write>, style: Style, shows_air: bool) -> Self {
        Self {
            out,
            style,
            shows_air,
            name_width: 0,
        }
    }

    /// Shows how the demo is set up.
    pub(super) fn open(&mut self, start: &Start) -> io::Result<()> {
        let widths = start.nodes.iter().map(String::len);
        self.name_width = widths.max().unwrap_or(0);
        match self.style {
            Style::Json => self.json(&Tagged {
                event: "start",
                content: start,
            }),
            Style::Plain | Style::Colour => self.header(start),
        }
    }

    /// Shows something that happened to a node.
    pub(super) fn show(&mut self, at: Instant, node: &str, event: &Event) -> io::Result<()> {
        if matches!(event, Event::Carried { .. }) && !self.shows_air {
            return Ok(());
        }
        let t = seconds(at.as_millis());
        if self.style == Style::Json {
            return self.json(&Line { t, node, event });
        }
        let width = self.name_width;
        let (sign, colour) = sign(event);
        let text = text(event);
        match self.style {
            Style::Colour => writeln!(
                self.out,
                "{t:>8.2} s  {node:width$}  \x1b[{colour}m{sign}  {text}\x1b[0m"
            ),
            _ => writeln!(self.out, "{t:>8.2} s  {node:width$}  {sign}  {text}"),
        }
    }

    /// Shows how it went.
    pub(super) fn close(&mut self, summary: &Summary) -> io::Result<()> {
        match self.style {
            Style::Json => self.json(&Tagged {
                event: "summary",
                content: summary,
            }),
            Style::Plain | Style::Colour => writeln!(self.out, "\n{summary}"),
        }
    }

    fn header(&mut self, start: &Start) -> io::Result<()> {
        let Start {
            broker,
            link,
            nodes,
            loss_percent,
            interval_s,
            seed,
        } = start;
        let port = broker.port();
        let first = nodes.first().map_or("NODE", String::as_str);
        let (count, noun) = match nodes.len() {
            1 => (1, "node"),
            count => (count, "nodes"),
        };
        let taken = match port {
            BROKER_PORT => String::new(),
            _ => format!(" ({BROKER_PORT} is taken)"),
        };
        writeln!(
            self.out,
            "{count} simulated {noun}, each with a reading every {interval_s} s; {loss_percent} % \
             of all frames are lost each way (--seed {seed}).\n\
             Gateway on UDP {link}, broker on TCP {broker}{taken}. To join in from another terminal:\n\
             \x20   mosquitto_sub -p {port} -t '#' -F '%t %x'\n\
             \x20   mosquitto_pub -p {port} -t cmd/{first} -q 1 -m 'led on'\n\
             ↑ from the node, at the broker by now; ↓ to the node; ✗ lost on the air; z asleep. \
             Ctrl-C ends it.\n"
        )
    }

    fn json(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_string(line).map_err(io::Error::other)?;
        text.push('\n');
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

#[derive(Serialize)]
struct Line<'a> {
    t: f64,
    node: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

#[derive(Serialize)]
struct Tagged<'a, T> {
    event: &'static str,
    #[serde(flatten)]
    content: &'a T,
}

/// Returns the event's sign and its colour, as terminals number them.
const fn sign(event: &Event) -> (&'static str, u8) {
    match event {
        Event::Connected { .. } => ("·", DEFAULT),
        Event::Reading { .. } => ("↑", GREEN),
        Event::Confirmation { .. } => ("↑", CYAN),
        Event::Command { .. } => ("↓", CYAN),
        Event::Lost { .. } => ("✗", RED),
        Event::Carried { way: Way::Up, .. } => ("↑", FAINT),
        Event::Carried { way: Way::Down, .. } => ("↓", FAINT),
        Event::Asleep { .. } => ("z", FAINT),
    }
}

fn text(event: &Event) -> String {
    match event {
        Event::Connected { again: false } => "connected".to_owned(),
        Event::Connected { again: true } => "connected again".to_owned(),
        Event::Reading {
            sequence,
            celsius,
            arrival,
            ..
        } => match arrival.duplicate {
            true => format!("reading {sequence} once more"),
            false => format!(
                "reading {sequence}: {celsius:.3} °C  ({})",
                journey(arrival)
            ),
        },
        Event::Command { command, .. } => {
            format!("command \"{command}\" is kept until the node wakes")
        }
        Event::Confirmation { .. } => confirmation(event),
        Event::Lost {
            way,
            message,
            octets,
            why,
        } => {
            let to = match way {
                Way::Up => "to the gateway",
                Way::Down => "to the node",
            };
            format!("{message} {to} {}  ({octets} octets)", reason(*why))
        }
        Event::Carried {
            message, octets, ..
        } => format!("{message}  ({octets} octets)"),
        Event::Asleep {
            for_ms,
            awake_ms,
            frames,
            octets,
        } => format!(
            "asleep for {:.1} s  (was awake {:.2} s: {frames} frames, {octets} octets)",
            seconds(*for_ms),
            seconds(*awake_ms)
        ),
    }
}

fn confirmation(event: &Event) -> String {
    let Event::Confirmation {
        command,
        outcome,
        interval_s,
        led,
        after_ms,
        arrival,
        ..
    } = event
    else {
        return String::new();
    };
    let command = command.as_deref().unwrap_or("an earlier command");
    if arrival.duplicate {
        return format!("confirms \"{command}\" once more");
    }
    let became = match *outcome {
        "done" => "done",
        "repeated" => "done already",
        "unknown" => "not a command it knows",
        "argument" => "the argument is missing or out of range",
        _ => "its storage failed",
    };
    let led = if *led { "on" } else { "off" };
    let waited = after_ms.map_or_else(String::new, |after| {
        format!(" after {:.2} s", seconds(after))
    });
    format!(
        "confirms \"{command}\"{waited}: {became}; interval {interval_s} s, LED {led}  ({})",
        journey(arrival)
    )
}

fn journey(arrival: &Arrival) -> String {
    let took = seconds(arrival.took_ms);
    let octets = arrival.octets;
    match arrival.transmissions {
        0 | 1 => format!("{octets} octets, {took:.2} s"),
        times => format!("{octets} octets, {took:.2} s, sent {times} times"),
    }
}

const fn reason(why: Loss) -> &'static str {
    match why {
        Loss::Chance => "lost on the air",
        Loss::Burst => "lost in a burst of noise",
        Loss::Full => "dropped, the link is full",
        Loss::RadioOff => "came while its radio was off",
    }
}

/// Returns seconds with a fraction; the counts stay far below where that becomes inexact.
#[expect(clippy::cast_precision_loss, reason = "2^53 ms are 285,000 years")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

const DEFAULT: u8 = 0;
const FAINT: u8 = 2;
const RED: u8 = 31;
const GREEN: u8 = 32;
const CYAN: u8 = 36;

#[cfg(test)]
mod tests;
