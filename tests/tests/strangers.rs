//! Thousands of senders that nobody knows, with every message there is: nothing of it reaches
//! the broker, few are answered, and whoever belongs here is served meanwhile (D-28).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use shared::wire::{QoS, TopicFilter, TopicRef};
use tests::{
    Carrier, Mosquitto, MosquittoOptions, MqttProbe, PATIENCE, ProbeOptions, Sandgrouse, SnNode,
    config, free_udp_port,
};

#[test]
fn five_thousand_strangers_at_a_udp_link_cause_nothing() -> Result<()> {
    let mut rig = Rig::start(None)?;
    let mut good = rig.good_node(SnNode::new(rig.gateway.address(), "good")?)?;
    let gateway = rig.gateway.address();
    let before = rig.before()?;
    let mut answers = Answers::default();
    let strangers: Vec<u32> = (0..STRANGERS).collect();
    for crowd in strangers.chunks(CROWD) {
        let sockets: Vec<UdpSocket> = crowd
            .iter()
            .map(|number| stranger(*number, gateway))
            .collect::<Result<_>>()?;
        for socket in &sockets {
            for message in MESSAGES {
                socket.send(message)?;
            }
            // In step with the gateway: what the kernel drops would test nothing.
            good.node.ping()?;
        }
        // The ping was answered last, so all answers are here.
        for socket in &sockets {
            answers.collect(socket)?;
        }
        good.is_served(&rig.probe)?;
    }
    ensure!(
        rig.gateway.udp_drops()? == 0,
        "the kernel dropped datagrams"
    );
    rig.judge(&before, &good, &answers)
}

#[test]
fn five_thousand_strangers_behind_a_serial_forwarder_cause_nothing() -> Result<()> {
    let line = Carrier::serial()?;
    let mut rig = Rig::start(Some(&line))?;
    let mut good = rig.good_node(SnNode::over(line.attach(b"good"), "good"))?;
    let before = rig.before()?;
    let mut answers = Answers::default();
    // A search is also answered to everybody on the line (D-09).
    let everybody = line.attach_alone();
    for number in 0..STRANGERS {
        let stranger = line.attach(&number.to_be_bytes());
        for message in MESSAGES {
            stranger.send_bytes(message)?;
        }
        good.node.ping()?;
        for place in [&stranger, &everybody] {
            while let Some(answer) = place.receive(Duration::ZERO)? {
                answers.count(&answer.0)?;
            }
        }
        if usize::try_from(number)? % CROWD == 0 {
            good.is_served(&rig.probe)?;
        }
    }
    ensure!(line.unknown() == 0, "answers for nobody");
    rig.judge(&before, &good, &answers)
}

/// A gateway beside a mosquitto that is watched from both sides.
struct Rig {
    gateway: Sandgrouse,
    /// Sees everything that is published.
    probe: MqttProbe,
    /// Sees mosquitto's own counters.
    counters: MqttProbe,
    _broker: Mosquitto,
}

/// How things were before the strangers came.
struct Before {
    rss_kib: u64,
    lines: u64,
    counters: BTreeMap<&'static str, u64>,
    seen: usize,
    at: Instant,
}

impl Rig {
    fn start(line: Option<&Carrier>) -> Result<Self> {
        let broker = Mosquitto::start(MosquittoOptions::default())?;
        let probe = MqttProbe::start(ProbeOptions::new(&broker, &["#"]))?;
        let counters = MqttProbe::start(ProbeOptions::new(&broker, &COUNTERS))?;
        let udp_port = free_udp_port()?;
        let mut text = config::udp_link(udp_port);
        if let Some(device) = line.and_then(Carrier::device) {
            text += &config::serial_link(&device);
        }
        text += &config::upstream(&broker);
        Ok(Self {
            gateway: Sandgrouse::with_config(udp_port, text)?,
            probe,
            counters,
            _broker: broker,
        })
    }

    fn good_node(&self, mut node: SnNode) -> Result<Good> {
        node.set_retry(PATIENCE);
        node.open_session(true)?;
        node.subscribe(TopicFilter::Name(b"good/down"), QoS::AtLeastOnce)?;
        let topic = TopicRef::Normal(node.register("good/up")?);
        let mut good = Good {
            node,
            topic,
            rounds: 0,
        };
        good.is_served(&self.probe)?;
        Ok(good)
    }

    fn before(&mut self) -> Result<Before> {
        let counters = self.settled_counters()?;
        Ok(Before {
            rss_kib: self.gateway.usage()?.rss_kib,
            lines: self.gateway.process().log().line_count(),
            seen: self.probe.count(),
            at: Instant::now(),
            counters,
        })
    }

    fn judge(mut self, before: &Before, good: &Good, answers: &Answers) -> Result<()> {
        let elapsed = before.at.elapsed();
        let rounds = u64::from(good.rounds) - 1;
        // The good node's publications up and those down to it, and nothing else.
        let seen = self.probe.count() - before.seen;
        ensure!(
            seen as u64 == 2 * rounds,
            "{seen} publications, {rounds} rounds"
        );
        let counters = self.settled_counters()?;
        for (name, after) in &counters {
            let due = if *name == PUBLISHED { 2 * rounds } else { 0 };
            let was = before.counters[name];
            ensure!(*after == was + due, "{name}: {was}, now {after}");
        }
        answers.are_bounded(elapsed)?;
        let grown_kib = self.gateway.usage()?.rss_kib.saturating_sub(before.rss_kib);
        ensure!(grown_kib < MEMORY_GROWTH_MAX_KIB, "{grown_kib} KiB more");
        let lines = self.gateway.process().log().line_count() - before.lines;
        ensure!(
            lines <= LOG_LINES_MAX,
            "{lines} log lines:\n{}",
            self.gateway.process().log().tail(10)
        );
        Ok(())
    }

    /// Returns mosquitto's counters once they have stopped to change.
    fn settled_counters(&self) -> Result<BTreeMap<&'static str, u64>> {
        let start = Instant::now();
        let mut last = None;
        while start.elapsed() < PATIENCE {
            // It writes them down once a second, where they have changed.
            std::thread::sleep(Duration::from_millis(2_200));
            let now = self.latest_counters()?;
            if last.as_ref() == Some(&now) {
                return Ok(now);
            }
            last = Some(now);
        }
        anyhow::bail!("mosquitto's counters do not come to rest: {last:?}")
    }

    fn latest_counters(&self) -> Result<BTreeMap<&'static str, u64>> {
        let received = self.counters.received();
        let latest = COUNTERS.iter().map(|name| {
            let one = received.iter().rfind(|one| one.topic == *name);
            let one = one.with_context(|| format!("mosquitto has no {name}"))?;
            Ok((*name, std::str::from_utf8(&one.payload)?.parse()?))
        });
        latest.collect()
    }
}

/// A node that belongs here.
struct Good {
    node: SnNode,
    topic: TopicRef,
    rounds: u32,
}

impl Good {
    /// Publishes, and gets what is published for it.
    fn is_served(&mut self, probe: &MqttProbe) -> Result<()> {
        self.rounds += 1;
        let payload = self.rounds.to_string();
        self.node
            .publish(self.topic, QoS::AtLeastOnce, payload.as_bytes())?;
        probe.publish("good/down", payload.as_bytes(), 1, false)?;
        let got = self.node.deliveries(1, PATIENCE)?;
        ensure!(got[0].payload == payload.as_bytes(), "{got:?}");
        ensure!(self.node.repeats() == 0, "it had to ask twice");
        // What was published has come round to the probe before the next count.
        probe.wait_for(2 * self.rounds as usize, PATIENCE)?;
        Ok(())
    }
}

/// What the strangers were answered.
#[derive(Debug, Default)]
struct Answers {
    all: u64,
    by_type: BTreeMap<u8, u64>,
}

impl Answers {
    fn collect(&mut self, socket: &UdpSocket) -> Result<()> {
        let mut buffer = [0; 64];
        while let Ok(len) = socket.recv(&mut buffer) {
            self.count(&buffer[..len])?;
        }
        Ok(())
    }

    fn count(&mut self, answer: &[u8]) -> Result<()> {
        let message_type = *answer.get(1).context("no message")?;
        self.all += 1;
        *self.by_type.entry(message_type).or_default() += 1;
        Ok(())
    }

    fn are_bounded(&self, elapsed: Duration) -> Result<()> {
        // D-28 and D-09: a hundred a second, and a hundred at once, for each of the two kinds,
        // and a search is answered twice. A CONNECT is answered by itself; there is one for each
        // stranger.
        let limited = 100 * (elapsed.as_secs() + 2);
        ensure!(self.all > 0, "nobody was answered at all");
        for (message_type, count) in &self.by_type {
            let allowed = matches!(*message_type, CONNACK | DISCONNECT | GWINFO);
            ensure!(allowed, "type {message_type:#04x}: {self:?}");
            let max = match *message_type {
                CONNACK => u64::from(STRANGERS),
                GWINFO => 2 * limited,
                _ => limited,
            };
            ensure!(
                *count <= max,
                "type {message_type:#04x}: {self:?} in {elapsed:?}"
            );
        }
        Ok(())
    }
}

/// Opens a socket at an address of its own.
fn stranger(number: u32, gateway: SocketAddr) -> Result<UdpSocket> {
    let [_, a, b, c] = number.to_be_bytes();
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 1 + a, 1 + b, c), 0))?;
    socket.connect(gateway)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Every message type, from both directions, each well formed; CONNECT asks for a version of
/// the protocol that there is not.
const MESSAGES: [&[u8]; 41] = [
    b"\x05\x00\x01\x03\x84",
    b"\x03\x01\x00",
    b"\x03\x02\x01",
    b"\x09\x04\x04\x02\x00\x3cabc",
    b"\x03\x05\x00",
    b"\x02\x06",
    b"\x02\x07",
    b"\x05\x07\x00wt",
    b"\x02\x08",
    b"\x04\x09wm",
    b"\x08\x0a\x00\x00\x00\x01ab",
    b"\x07\x0b\x04\x01\x00\x01\x00",
    b"\x08\x0c\x00\x04\x01\x00\x01x",
    b"\x08\x0c\x20\x04\x01\x00\x01x",
    b"\x08\x0c\x40\x04\x01\x00\x01x",
    b"\x08\x0c\x32ab\x00\x01x",
    b"\x08\x0c\x61\x00\x01\x00\x00x",
    b"\x08\x0c\x62ab\x00\x00x",
    b"\x07\x0d\x04\x01\x00\x01\x00",
    b"\x04\x0e\x00\x01",
    b"\x04\x0f\x00\x01",
    b"\x04\x10\x00\x01",
    b"\x06\x12\x20\x00\x01#",
    b"\x07\x12\x22\x00\x01ab",
    b"\x08\x13\x20\x04\x01\x00\x01\x00",
    b"\x06\x14\x00\x00\x01#",
    b"\x04\x15\x00\x01",
    b"\x02\x16",
    b"\x05\x16abc",
    b"\x06\x16good",
    b"\x02\x17",
    b"\x02\x18",
    b"\x04\x18\x00\x3c",
    b"\x02\x1a",
    b"\x05\x1a\x00wt",
    b"\x03\x1b\x00",
    b"\x04\x1cwm",
    b"\x03\x1d\x00",
    b"\x04\xfe\x00\x07\x08\x0c\x20\x04\x01\x00\x01x",
    b"\x04\xfe\x00\x07\x02\x16",
    b"\x05\x16xyz",
];

const GWINFO: u8 = 0x02;
const CONNACK: u8 = 0x05;
const DISCONNECT: u8 = 0x18;

const STRANGERS: u32 = 5_000;
/// How many of them are there at a time.
const CROWD: usize = 250;

const PUBLISHED: &str = "$SYS/broker/publish/messages/received";
const COUNTERS: [&str; 3] = [
    PUBLISHED,
    "$SYS/broker/subscriptions/count",
    "$SYS/broker/clients/total",
];

/// Memory that they may cost, in KiB.
const MEMORY_GROWTH_MAX_KIB: u64 = 16 * 1024;
/// Lines that may tell of them.
const LOG_LINES_MAX: u64 = 300;
