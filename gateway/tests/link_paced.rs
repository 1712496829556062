//! Links that are sent to no faster than they can carry, on pseudo-terminals and sockets.

mod radio;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::sync::mpsc as threads;
use std::time::{Duration, Instant};

use gateway::config::{Config, LinkConfig, LinkKind, PacingConfig, SerialConfig, UdpConfig};
use gateway::driver::Gateway;
use gateway::link::{self, DropReason, Inbound, LinkHandle};
use gateway::session::{Binding, LinkId, Peer, Priority};
use radio::{Radio, frame};
use shared::frame::FrameReader;
use shared::wire::{Message, NodeId, ReturnCode};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

const ID: LinkId = LinkId(0);
const PATIENCE: Duration = Duration::from_secs(20);
/// How late the far end may read what came: the machine may be busy. Frames that were read
/// late seem to follow each other too fast by as much.
const LATE: Duration = Duration::from_millis(250);
const RATE: u32 = 1000;

fn pacing() -> PacingConfig {
    PacingConfig {
        rate_bytes_per_s: Some(RATE),
        ..PacingConfig::default()
    }
}

fn config(kind: LinkKind, pacing: PacingConfig) -> LinkConfig {
    LinkConfig {
        name: "radio".to_owned(),
        max_message: 256,
        pacing: Some(pacing),
        kind,
        ..LinkConfig::default()
    }
}

fn open(config: &LinkConfig) -> (LinkHandle, mpsc::Receiver<Inbound>) {
    let (inbound, batches) = mpsc::channel(64);
    (link::open(ID, config, inbound).unwrap(), batches)
}

async fn open_line(path: &Path, pacing: PacingConfig) -> (LinkHandle, mpsc::Receiver<Inbound>) {
    let serial = LinkKind::Serial(SerialConfig::new(path));
    let (handle, mut inbound) = open(&config(serial, pacing));
    timeout(PATIENCE, inbound.recv()).await.unwrap().unwrap();
    while !handle.is_up() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (handle, inbound)
}

fn node(number: u8) -> Binding {
    Binding {
        link: ID,
        peer: Peer::Line,
        node_id: NodeId::new(&[number]),
    }
}

/// Reads what the gateway sends on a line that it has opened, with the time and the length of each frame.
struct Ear {
    frames: threads::Receiver<(Instant, usize, Vec<u8>)>,
}

impl Ear {
    fn of(radio: &Radio) -> Self {
        let mut line = radio.0.try_clone().unwrap();
        let (tx, frames) = threads::channel();
        std::thread::spawn(move || {
            let mut reader = FrameReader::<1400>::new();
            let mut bytes = [0; 512];
            let mut len = 0;
            while let Ok(read @ 1..) = line.read(&mut bytes) {
                let now = Instant::now();
                // By single octets, so that each frame gets its own length.
                for byte in &bytes[..read] {
                    len += 1;
                    let mut rest = std::slice::from_ref(byte);
                    while let Some(datagram) = reader.feed(&mut rest) {
                        if tx.send((now, len, datagram.to_vec())).is_err() {
                            return;
                        }
                        len = 0;
                    }
                }
            }
        });
        Self { frames }
    }

    async fn next(&self) -> (Instant, usize, Vec<u8>) {
        let start = Instant::now();
        loop {
            if let Ok(frame) = self.frames.try_recv() {
                return frame;
            }
            assert!(start.elapsed() < PATIENCE, "nothing came");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Checks that no span of time had more octets than the rate allows.
fn check_rate(frames: &[(Instant, usize)], rate: u32) {
    for (first, (begin, _)) in frames.iter().enumerate() {
        let mut octets = 0;
        for (at, len) in &frames[first..] {
            let span = at.duration_since(*begin) + LATE;
            let allowed = span.as_secs_f64() * f64::from(rate);
            assert!(octets as f64 <= allowed, "{octets} octets within {span:?}");
            octets += len;
        }
    }
}

#[tokio::test]
async fn frames_leave_at_the_rate_and_the_link_tells_how_long_it_is_busy() {
    let (radio, path) = Radio::new();
    let (mut handle, _inbound) = open_line(&path, pacing()).await;
    let ear = Ear::of(&radio);
    assert!(handle.is_paced());
    assert_eq!(handle.busy_until(), None);
    let start = tokio::time::Instant::now();
    for number in 0..10 {
        handle.send(node(number), Priority::Normal, &[number; 100]);
    }
    let busy = handle.busy_until().unwrap() - start;
    // Ten frames of 106 octets at most.
    assert!((1.0..1.2).contains(&busy.as_secs_f64()), "{busy:?}");
    assert_eq!(
        handle.counters().datagrams_out + 9,
        9,
        "one at once, the rest in its time"
    );
    let mut frames = Vec::new();
    for number in 0..10 {
        let (at, len, datagram) = ear.next().await;
        assert_eq!(datagram, [number; 100]);
        frames.push((at, len));
    }
    check_rate(&frames, RATE);
    let took = frames[9].0 - frames[0].0;
    assert!(took > Duration::from_millis(900), "{took:?}");
    timeout(PATIENCE, handle.flush()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(handle.busy_until(), None);
    let counters = handle.counters();
    assert_eq!((counters.datagrams_out, counters.dropped_total()), (10, 0));
}

#[tokio::test]
async fn a_node_that_was_heard_is_left_the_air() {
    let guard = shared::time::Duration::from_millis(300);
    let (mut radio, path) = Radio::new();
    let (mut handle, mut inbound) = open_line(&path, PacingConfig { guard, ..pacing() }).await;
    let ear = Ear::of(&radio);
    radio.send(b"\x02\x16");
    timeout(PATIENCE, inbound.recv()).await.unwrap().unwrap();
    let heard = Instant::now();
    for number in 0..2 {
        handle.send(node(number), Priority::Normal, &[2, 0x17]);
    }
    let first = ear.next().await.0 - heard;
    let second = ear.next().await.0 - heard;
    // The datagram was heard a little before this test was told.
    assert!(first > Duration::from_millis(250), "{first:?}");
    assert!(second > first + Duration::from_millis(250), "{second:?}");
}

#[tokio::test]
async fn what_waits_is_bounded_coalesced_and_served_by_priority() {
    let (radio, path) = Radio::new();
    let narrow = PacingConfig {
        queue_bytes_max: 400,
        ..pacing()
    };
    let (mut handle, _inbound) = open_line(&path, narrow).await;
    let ear = Ear::of(&radio);
    // This one goes at once, and the others wait for its end.
    handle.send(node(0), Priority::Normal, &[0; 100]);
    handle.send(node(1), Priority::Low, &[1; 100]);
    handle.send(node(2), Priority::Normal, &[2; 100]);
    // A repetition of what waits, by the node's T_retry or ours.
    for _ in 0..50 {
        handle.send(node(2), Priority::Normal, &[2; 100]);
    }
    handle.send(node(3), Priority::High, &[3; 100]);
    // Now it is full: the least important one makes room, and then there is none.
    handle.send(node(4), Priority::Normal, &[4; 100]);
    handle.send(node(5), Priority::Low, &[5; 100]);
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(ear.next().await.2[0]);
    }
    assert_eq!(order, [0, 3, 2, 4]);
    let counters = handle.counters();
    assert_eq!(counters.dropped(DropReason::Coalesced), 50);
    assert_eq!(counters.dropped(DropReason::QueueFull), 2);
    assert_eq!(counters.dropped_total(), 52);
    // What could never be sent takes no place and no time.
    handle.send(node(1), Priority::Normal, &[1; 257]);
    let elsewhere = Binding {
        peer: Peer::Socket("192.0.2.1:1".parse().unwrap()),
        ..node(1)
    };
    handle.send(elsewhere, Priority::Normal, &[1; 2]);
    let counters = handle.counters();
    assert_eq!(counters.dropped(DropReason::SendOversize), 1);
    assert_eq!(counters.dropped(DropReason::NoSuchPeer), 1);
}

#[tokio::test]
async fn what_waits_for_a_line_that_is_gone_is_old_news() {
    let (radio, path) = Radio::new();
    let (mut handle, mut inbound) = open_line(&path, pacing()).await;
    for number in 0..10 {
        handle.send(node(number), Priority::Normal, &[number; 100]);
    }
    drop(radio);
    let told = timeout(PATIENCE, inbound.recv()).await.unwrap().unwrap();
    assert!(matches!(told, Inbound::Event(..)), "{told:?}");
    timeout(PATIENCE, handle.flush()).await.unwrap();
    handle.send(node(1), Priority::Normal, &[1; 100]);
    let counters = handle.counters();
    assert_eq!(
        counters.dropped(DropReason::LineDown) + counters.datagrams_out,
        11
    );
    assert!(counters.dropped(DropReason::LineDown) >= 9, "{counters:?}");
}

#[tokio::test]
async fn a_socket_can_be_paced_too() {
    let listen = UdpConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..UdpConfig::default()
    };
    let (mut handle, _inbound) = open(&config(LinkKind::Udp(listen), pacing()));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = Binding {
        peer: Peer::Socket(client.local_addr().unwrap()),
        node_id: None,
        ..node(0)
    };
    for number in 0..6 {
        handle.send(to, Priority::Normal, &[number; 100]);
    }
    let reading = tokio::task::spawn_blocking(move || {
        let read = |number| {
            let mut datagram = [0; 200];
            assert_eq!(client.recv(&mut datagram).unwrap(), 100);
            assert_eq!(datagram[0], number);
            (Instant::now(), 100)
        };
        (0..6).map(read).collect::<Vec<_>>()
    });
    let frames = reading.await.unwrap();
    check_rate(&frames, RATE);
    assert!(frames[5].0 - frames[0].0 > Duration::from_millis(450));
    assert_eq!(handle.counters().datagrams_out, 6);
}

#[tokio::test]
async fn a_link_that_cannot_be_paced_so_is_refused() {
    let tiny = PacingConfig {
        queue_bytes_max: 100,
        ..pacing()
    };
    let (inbound, _batches) = mpsc::channel(1);
    let serial = LinkKind::Serial(SerialConfig::new("/nonexistent"));
    let error = link::open(ID, &config(serial, tiny), inbound).unwrap_err();
    assert!(
        error.to_string().starts_with("link radio: a queue of 100"),
        "{error}"
    );
}

/// The nodes on one radio, each of which answers at once.
struct Nodes {
    radio: Radio,
    frames: Vec<(Instant, usize)>,
    /// How often each node got the publication, and how often as a first transmission.
    got: HashMap<u8, (u32, u32)>,
    subscribed: usize,
    acknowledged: usize,
}

impl Nodes {
    fn send(&mut self, number: u8, message: &[u8]) {
        let datagram = [&[4, 0xFE, 0, number][..], message].concat();
        self.radio.0.write_all(&frame(&datagram)).unwrap();
    }

    fn connect(&mut self, number: u8) {
        let (tens, ones) = (b'0' + number / 10, b'0' + number % 10);
        self.send(number, &[9, 0x04, 0x04, 1, 0, 200, b'n', tens, ones]);
    }

    fn subscribe(&mut self, number: u8) {
        self.send(number, &[7, 0x12, 0x22, 0, 1, b'c', b'm']);
    }

    fn publish(&mut self, number: u8) {
        self.send(number, &[8, 0x0C, 0x22, b'c', b'm', 0, 9, 1]);
    }

    /// Takes a frame and lets its node answer.
    fn take(&mut self, (at, len, datagram): (Instant, usize, Vec<u8>)) {
        self.frames.push((at, len));
        let Ok(Message::Forward(forward)) = Message::parse(&datagram) else {
            panic!("{datagram:?}");
        };
        let number = forward.node_id[0];
        match Message::parse(forward.inner).unwrap() {
            Message::ConnAck(connack) => {
                assert_eq!(connack.return_code, ReturnCode::Accepted);
                self.subscribe(number);
            }
            Message::SubAck(suback) => {
                assert_eq!(suback.return_code, ReturnCode::Accepted);
                self.subscribed += 1;
            }
            Message::Publish(publish) => {
                let got = self.got.entry(number).or_default();
                got.0 += 1;
                got.1 += u32::from(!publish.dup);
                let id = publish.msg_id.0.to_be_bytes();
                self.send(number, &[7, 0x0D, b'c', b'm', id[0], id[1], 0]);
            }
            Message::PubAck(_) => self.acknowledged += 1,
            other => panic!("{other:?}"),
        }
    }
}

/// Many nodes on one slow radio connect, subscribe and are all sent the same publication.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_many_nodes_never_exceeds_the_rate_of_a_radio() {
    const NODES: u8 = 40;
    const SLOW: u32 = 250;
    let (radio, path) = Radio::new();
    let guard = shared::time::Duration::from_millis(5);
    let radio_config = PacingConfig {
        rate_bytes_per_s: Some(SLOW),
        guard,
        ..pacing()
    };
    let mut config = Config {
        links: vec![self::config(
            LinkKind::Serial(SerialConfig::new(&path)),
            radio_config,
        )],
        ..Config::default()
    };
    // Shorter than what the radio needs for all nodes once: what waits is not lost.
    config.links[0].t_retry = shared::time::Duration::from_secs(2);
    config.broker.listen = "127.0.0.1:0".parse().unwrap();
    let gateway = Gateway::start(&config).await.unwrap();
    while !gateway.links()[0].is_up() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ear = Ear::of(&radio);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(gateway.run(async move {
        let _ = stopped.await;
    }));

    let mut nodes = Nodes {
        radio,
        frames: Vec::new(),
        got: HashMap::new(),
        subscribed: 0,
        acknowledged: 0,
    };
    for number in 0..NODES {
        nodes.connect(number);
    }
    while nodes.subscribed < usize::from(NODES) {
        let frame = ear.next().await;
        nodes.take(frame);
    }
    nodes.publish(0);
    while nodes.got.len() < usize::from(NODES) || nodes.acknowledged == 0 {
        let frame = ear.next().await;
        nodes.take(frame);
    }
    check_rate(&nodes.frames, SLOW);
    let octets: usize = nodes.frames.iter().map(|frame| frame.1).sum();
    let took = nodes.frames.last().unwrap().0 - nodes.frames[0].0;
    println!("{} frames, {octets} octets in {took:?}", nodes.frames.len());
    let first = nodes.got.values().filter(|(_, first)| *first == 1).count();
    assert_eq!(first, usize::from(NODES), "each once without DUP");
    // What still waits is not repeated: the link has told how long it is busy.
    let repeated: u32 = nodes.got.values().map(|(all, _)| all - 1).sum();
    assert_eq!(repeated, 0, "on the air again");
    stop.send(()).unwrap();
    let stats = timeout(PATIENCE, running).await.unwrap().unwrap();
    assert_eq!(stats.retransmissions, 0, "{stats:?}");
}
