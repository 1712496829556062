//! SIGHUP at the real process: what changes, what stays, and what a broken file does.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use shared::wire::{
    Acknowledgement, Connect, Disconnect, Message, MsgId, PingReq, Publish, QoS, ReturnCode,
    TopicId, TopicRef,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running gateway with its log; ended on drop.
struct Gateway {
    child: Child,
    lines: Receiver<String>,
    folder: TempDir,
}

impl Gateway {
    fn start(config: &str) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join(FILE), config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_sandgrouse"))
            .args(["run", "--log-format", "json", "--config"])
            .arg(folder.path().join(FILE))
            .env_remove("RUST_LOG")
            .env_remove("SANDGROUSE_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            folder,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// Returns the log up to the line with a message, that line last.
    fn log_until(&self, message: &str) -> Vec<Value> {
        let start = Instant::now();
        let mut seen: Vec<Value> = Vec::new();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let line = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("{message:?} is not among {seen:#?}"));
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let is_last = line["message"] == message;
            seen.push(line);
            if is_last {
                return seen;
            }
        }
    }

    /// Waits until the gateway is ready and returns where its links listen.
    fn addresses(&self) -> Vec<SocketAddr> {
        let log = self.log_until("ready");
        let open = log.iter().filter(|line| line["message"] == "open");
        open.map(|line| line["at"].as_str().unwrap().parse().unwrap())
            .collect()
    }

    /// Writes the file, sends SIGHUP, and returns the log up to a message.
    fn reload(&self, config: &str, message: &str) -> Vec<Value> {
        std::fs::write(self.file(), config).unwrap();
        self.signal(Signal::SIGHUP);
        self.log_until(message)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).unwrap();
    }

    fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        self.log_until("stopped");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node that repeats what is not answered.
struct Node {
    socket: UdpSocket,
    client_id: &'static str,
    last_id: u16,
}

impl Node {
    fn new(gateway: SocketAddr, client_id: &'static str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(gateway).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        Self {
            socket,
            client_id,
            last_id: 0,
        }
    }

    /// Sends a message until one comes for which `wanted` has something to say.
    fn ask<T>(&self, message: &Message<'_>, wanted: impl Fn(&Message<'_>) -> Option<T>) -> T {
        let mut buffer = vec![0; message.encoded_len()];
        let len = message.emit(&mut buffer).unwrap();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            self.socket.send(&buffer[..len]).unwrap();
            if let Some(found) = self.hear(&wanted) {
                return found;
            }
        }
        panic!("no answer to {message:?}");
    }

    /// Passes over messages until `wanted` has something to say, or none has come for a while.
    fn hear<T>(&self, wanted: &impl Fn(&Message<'_>) -> Option<T>) -> Option<T> {
        let mut buffer = [0; 1500];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            if let Some(found) = wanted(&Message::parse(&buffer[..len]).unwrap()) {
                return Some(found);
            }
        }
        None
    }

    fn connect(&self) -> ReturnCode {
        let connect = Connect {
            will: false,
            clean: true,
            protocol_id: Connect::PROTOCOL_ID,
            duration_s: 600,
            client_id: self.client_id.as_bytes(),
        };
        self.ask(&Message::Connect(connect), |message| match message {
            Message::ConnAck(ack) => Some(ack.return_code),
            _ => None,
        })
    }

    /// Publishes to a pre-defined topic at QoS 1 and returns the answer.
    fn publish(&mut self, topic: u16) -> ReturnCode {
        self.last_id += 1;
        let msg_id = MsgId(self.last_id);
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: TopicRef::Predefined(TopicId(topic)),
            msg_id,
            payload: b"1",
        };
        self.ask(&Message::Publish(publish), |message| match message {
            Message::PubAck(Acknowledgement {
                msg_id: id,
                return_code,
                ..
            }) if *id == msg_id => Some(*return_code),
            _ => None,
        })
    }

    fn sleep(&self) {
        let duration_s = Some(600);
        let sleep = Message::Disconnect(Disconnect { duration_s });
        self.ask(&sleep, |message| {
            matches!(message, Message::Disconnect(_)).then_some(())
        });
    }

    /// Returns whether the node has a session: whether it is answered, and not sent off.
    fn is_connected(&self) -> bool {
        let ping = Message::PingReq(PingReq { client_id: b"" });
        self.ask(&ping, |message| match message {
            Message::PingResp => Some(true),
            Message::Disconnect(_) => Some(false),
            _ => None,
        })
    }
}

const FILE: &str = "gateway.toml";

fn link(name: &str, more: &str) -> String {
    format!("[[link]]\nname = \"{name}\"\ntype = \"udp\"\nlisten = \"127.0.0.1:0\"\n{more}")
}

fn config(gateway: &str, rest: &str) -> String {
    let link = link("udp", "");
    format!("[gateway]\n{gateway}\n{link}[broker]\nlisten = \"127.0.0.1:0\"\n{rest}")
}

fn find<'a>(log: &'a [Value], message: &str, key: &str) -> &'a Value {
    let found = log
        .iter()
        .find(|it| it["message"] == message && it["key"] == key);
    found.unwrap_or_else(|| panic!("{message}: {key} is not among {log:#?}"))
}

#[test]
fn sighup_changes_what_it_can_and_sessions_stay() {
    let first = config(
        "id = 1",
        "[topics.predefined]\n1 = \"a/one\"\n[[node]]\nmatch = \"pump-*\"\n",
    );
    let gateway = Gateway::start(&first);
    let address = gateway.addresses()[0];
    let mut pump = Node::new(address, "pump-1");
    let valve = Node::new(address, "valve");
    assert_eq!(pump.connect(), ReturnCode::Accepted);
    assert_eq!(valve.connect(), ReturnCode::Accepted);
    assert_eq!(pump.publish(1), ReturnCode::Accepted);
    assert_eq!(pump.publish(2), ReturnCode::InvalidTopicId);

    let second = config(
        "client_id = \"other\"",
        "[topics.predefined]\n1 = \"a/one\"\n2 = \"a/two\"\n\
         [admission]\nothers = \"refuse\"\n[[node]]\nmatch = \"pump-*\"\n\
         [log]\nlevel = \"debug\"\n",
    );
    let log = gateway.reload(&second, "configuration read anew");
    let topic = find(&log, "changed", "topics.predefined.2");
    assert_eq!(
        (&topic["old"], &topic["new"]),
        (&"none".into(), &"\"a/two\"".into())
    );
    let others = find(&log, "changed", "admission.others");
    assert_eq!(
        (&others["old"], &others["new"]),
        (&"\"serve\"".into(), &"\"refuse\"".into())
    );
    let name = find(&log, "needs a restart", "gateway.client_id");
    assert_eq!(
        (&name["level"], &name["new"]),
        (&"WARN".into(), &"\"other\"".into())
    );
    let end = log.last().unwrap();
    assert_eq!(
        (&end["sessions_kept"], &end["sessions_ended"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        (&end["changes"], &end["need_restart"]),
        (&4.into(), &1.into())
    );
    assert_eq!(pump.publish(2), ReturnCode::Accepted);
    assert!(!valve.is_connected());
    assert_eq!(valve.connect(), ReturnCode::NotSupported);

    // The log tells more from now on.
    let sleeper = Node::new(address, "pump-2");
    assert_eq!(sleeper.connect(), ReturnCode::Accepted);
    sleeper.sleep();
    let log = gateway.log_until("asleep");
    assert_eq!(log.last().unwrap()["level"], "DEBUG");

    // Broken in one place: nothing of it is taken, not what is right either.
    let broken = second
        .replace("refuse", "serve")
        .replace("client_id = \"other\"", "id = 0");
    let log = gateway.reload(&broken, "not taken: everything stays as it was");
    let place = format!(
        "{}:2:6: gateway.id: 0 is not allowed",
        gateway.file().display()
    );
    let told = |line: &Value| line["message"].as_str().unwrap().starts_with(&place);
    let fault = log
        .iter()
        .find(|line| told(line))
        .unwrap_or_else(|| panic!("{log:#?}"));
    assert_eq!(fault["level"], "ERROR");
    assert!(pump.is_connected());
    assert_eq!(pump.publish(2), ReturnCode::Accepted);
    assert_eq!(valve.connect(), ReturnCode::NotSupported);

    std::fs::remove_file(gateway.file()).unwrap();
    gateway.signal(Signal::SIGHUP);
    let log = gateway.log_until("not taken: everything stays as it was");
    let told = |line: &Value| line["message"].as_str().unwrap().contains("No such file");
    assert!(log.iter().any(told), "{log:#?}");

    // As it was at the start: what was waiting for a restart waits no longer.
    let log = gateway.reload(&first, "configuration read anew");
    assert_eq!(log.last().unwrap()["need_restart"], 0);
    assert_eq!(log.last().unwrap()["changes"], 4);
    assert_eq!(valve.connect(), ReturnCode::Accepted);
    assert_eq!(pump.publish(2), ReturnCode::InvalidTopicId);
    assert_eq!(pump.publish(1), ReturnCode::Accepted);
    gateway.stop();
}

#[test]
fn a_file_without_a_change_changes_nothing() {
    let same = config("id = 1", "");
    let gateway = Gateway::start(&same);
    let address = gateway.addresses()[0];
    let node = Node::new(address, "pump-1");
    assert_eq!(node.connect(), ReturnCode::Accepted);
    gateway.log_until("connected");
    let log = gateway.reload(&format!("# A comment.\n{same}"), "configuration read anew");
    assert_eq!(log.len(), 1, "{log:#?}");
    assert_eq!(
        (&log[0]["changes"], &log[0]["sessions_kept"]),
        (&0.into(), &1.into())
    );
    assert!(node.is_connected());
    gateway.stop();
}

#[test]
fn links_keep_their_places_and_new_ones_wait_for_a_restart() {
    let broker = "[broker]\nlisten = \"127.0.0.1:0\"\n";
    let gateway = Gateway::start(&format!("{}{}{broker}", link("a", ""), link("b", "")));
    let addresses = gateway.addresses();
    let at_a = Node::new(addresses[0], "node-a");
    let at_b = Node::new(addresses[1], "node-b");
    assert_eq!(at_a.connect(), ReturnCode::Accepted);
    assert_eq!(at_b.connect(), ReturnCode::Accepted);
    // In another order, with a link more, and a rule that names the link by its name.
    let second = format!(
        "{}{}{}{broker}[[node]]\nmatch = \"*\"\nlinks = [\"b\", \"c\"]\n",
        link("c", ""),
        link("b", "t_retry = \"2s\"\n"),
        link("a", ""),
    );
    let log = gateway.reload(&second, "configuration read anew");
    let clock = find(&log, "changed", "link[b].t_retry");
    assert_eq!(
        (&clock["old"], &clock["new"]),
        (&"\"10s\"".into(), &"\"2s\"".into())
    );
    find(&log, "needs a restart", "link[c]");
    let end = log.last().unwrap();
    assert_eq!(
        (&end["sessions_kept"], &end["sessions_ended"]),
        (&1.into(), &1.into())
    );
    assert_eq!(end["need_restart"], 1);
    assert!(at_b.is_connected());
    assert!(!at_a.is_connected());
    assert_eq!(at_a.connect(), ReturnCode::NotSupported);
    gateway.stop();
}
