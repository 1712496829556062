//! The demo, as a person starts it.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const FIRST_MESSAGE_MAX: Duration = Duration::from_secs(5);

/// A run of eight seconds, and the time that the gateway has to end in order.
const RUN_MAX: Duration = Duration::from_secs(30);

/// Ends a demo that a failed test leaves behind.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A line of `--json`, and when it was read.
struct Line {
    after: Duration,
    value: Value,
}

impl Line {
    fn is(&self, event: &str) -> bool {
        self.value["event"] == event
    }

    fn node(&self) -> &str {
        self.value["node"].as_str().unwrap_or_default()
    }
}

impl Demo {
    fn start(args: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_sandgrouse"))
            .arg("demo")
            .args(args)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Reads all lines, calling `at_line` after each, and returns them with the exit code.
    fn watch(mut self, mut at_line: impl FnMut(&Self, &Line)) -> (Vec<Line>, Option<i32>) {
        let start = Instant::now();
        let stdout = BufReader::new(self.0.stdout.take().unwrap());
        let mut lines = Vec::new();
        for text in stdout.lines() {
            let text = text.unwrap();
            let value = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("not JSON: {error}: {text}"));
            let after = start.elapsed();
            assert!(after < RUN_MAX, "the demo does not end");
            let line = Line { after, value };
            at_line(&self, &line);
            lines.push(line);
        }
        let status = self.0.wait().unwrap();
        (lines, status.code())
    }

    fn interrupt(&self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        kill(pid, Signal::SIGINT).unwrap();
    }
}

fn readings_by_node(lines: &[Line]) -> HashMap<String, Vec<u64>> {
    let mut readings: HashMap<String, Vec<u64>> = HashMap::new();
    for line in lines.iter().filter(|line| line.is("reading")) {
        if line.value["duplicate"] == false {
            let sequence = line.value["sequence"].as_u64().unwrap();
            readings
                .entry(line.node().to_owned())
                .or_default()
                .push(sequence);
        }
    }
    readings
}

/// Checks what every demo must show.
fn check(lines: &[Line], code: Option<i32>) {
    assert_eq!(code, Some(0));
    let first = lines.iter().find(|line| line.is("reading")).unwrap();
    assert!(first.after < FIRST_MESSAGE_MAX, "after {:?}", first.after);

    let start = &lines[0];
    assert!(start.is("start"), "{}", start.value);
    let nodes: HashSet<&str> = start.value["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert_eq!(nodes.len(), 5);
    let readings = readings_by_node(lines);
    assert_eq!(
        readings.keys().map(String::as_str).collect::<HashSet<_>>(),
        nodes
    );
    for (node, sequences) in &readings {
        let expected: Vec<u64> = (0..).take(sequences.len()).collect();
        assert_eq!(sequences, &expected, "{node}: in order, none left out");
    }

    let summary = &lines.last().unwrap().value;
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["missing"], serde_json::json!([]));
    let arrived: usize = readings.values().map(Vec::len).sum();
    assert_eq!(summary["total"]["readings_arrived"], arrived);
    assert!(summary["total"]["acknowledged"].as_u64().unwrap() > 0);
}

#[test]
fn five_nodes_are_seen_within_five_seconds() {
    let (lines, code) = Demo::start(&["--for", "8s", "--seed", "1", "--json"]).watch(|_, _| {});
    check(&lines, code);
    let lost = lines.iter().filter(|line| line.is("lost")).count();
    assert!(lost > 5, "only {lost} lost");
    let total = &lines.last().unwrap().value["total"];
    let counted = total["lost_up"].as_u64().unwrap() + total["lost_down"].as_u64().unwrap();
    assert_eq!(u64::try_from(lost).unwrap(), counted);
    assert!(lines.iter().any(|line| line.is("asleep")));
}

#[test]
fn commands_are_carried_out_and_confirmed() {
    let args = ["--for", "10s", "--seed", "2", "--loss", "0", "--json"];
    let (lines, code) = Demo::start(&args).watch(|_, _| {});
    check(&lines, code);
    let total = &lines.last().unwrap().value["total"];
    assert_eq!(
        (&total["lost_up"], &total["lost_down"]),
        (&0.into(), &0.into())
    );
    // Given after 2.5 s, and the node wakes every three.
    let command = lines.iter().find(|line| line.is("command")).unwrap();
    let confirmation = lines
        .iter()
        .find(|line| line.is("confirmation") && line.value["id"] == command.value["id"])
        .unwrap();
    assert_eq!(confirmation.node(), command.node());
    assert_eq!(confirmation.value["command"], command.value["command"]);
    assert_eq!(confirmation.value["outcome"], "done");
}

#[test]
fn a_taken_port_and_an_interrupt_do_no_harm() {
    // Whoever has the port already, another gateway or this test: the demo must not get it.
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 1883));
    let demo = Demo::start(&["--seed", "3", "--json"]);
    let mut seen = HashSet::new();
    let (lines, code) = demo.watch(|demo, line| {
        if line.is("reading") && seen.insert(line.node().to_owned()) && seen.len() == 5 {
            demo.interrupt();
        }
    });
    check(&lines, code);
    let broker = lines[0].value["broker"].as_str().unwrap();
    let broker: std::net::SocketAddr = broker.parse().unwrap();
    assert!(broker.ip().is_loopback());
    if taken.is_ok() {
        assert_ne!(broker.port(), 1883);
    }
}
