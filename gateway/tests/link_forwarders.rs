//! Nodes behind forwarders, on real sockets and a real line: encapsulation, and nodes that
//! move from one forwarder to another (D-35, A.14).

mod radio;

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc as threads;
use std::time::{Duration, Instant};

use gateway::config::{Config, LinkConfig, LinkKind, SerialConfig, UdpConfig};
use gateway::driver::Gateway;
use radio::{Radio, frame};
use tokio::sync::oneshot;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_millis(300);

/// A CONNECT of the node `n1` that keeps its session.
const CONNECT: &[u8] = &[8, 0x04, 0x00, 1, 0, 200, b'n', b'1'];
const CONNACK: &[u8] = &[3, 0x05, 0];
/// SUBSCRIBE to the short topic `cm` at QoS 1.
const SUBSCRIBE: &[u8] = &[7, 0x12, 0x22, 0, 1, b'c', b'm'];
/// SUBACK echoes the short topic (D-15).
const SUBACK: &[u8] = &[8, 0x13, 0x20, b'c', b'm', 0, 1, 0];
/// PINGREQ of the sleeping node `n1`.
const WAKE: &[u8] = &[4, 0x16, b'n', b'1'];
const PINGRESP: &[u8] = &[2, 0x17];
/// DISCONNECT to sleep for 200 s, and to be gone.
const SLEEP: &[u8] = &[4, 0x18, 0, 200];
const DISCONNECT: &[u8] = &[2, 0x18];

/// PUBLISH on `cm` at QoS 1.
const fn publish(id: u8, payload: u8) -> [u8; 8] {
    [8, 0x0C, 0x22, b'c', b'm', 0, id, payload]
}

fn wrapped(node_id: &[u8], inner: &[u8]) -> Vec<u8> {
    let len = u8::try_from(3 + node_id.len()).unwrap();
    [&[len, 0xFE, 0][..], node_id, inner].concat()
}

/// A forwarder or a node of its own on UDP.
struct Socket(UdpSocket);

impl Socket {
    fn bind() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn connect(&self, gateway: SocketAddr) {
        self.0.connect(gateway).unwrap();
    }
}

/// The far end of the serial line; a task reads it all the time.
struct LineEnd {
    radio: Radio,
    datagrams: threads::Receiver<Vec<u8>>,
}

impl LineEnd {
    /// Reads a line that the gateway has opened.
    fn of(radio: Radio) -> Self {
        let mut far = Radio(radio.0.try_clone().unwrap());
        let (tx, datagrams) = threads::channel();
        std::thread::spawn(move || far.receive_while(|datagram| tx.send(datagram).is_ok()));
        Self { radio, datagrams }
    }
}

/// What carries wrapped messages between a node and the gateway.
trait Forwarder {
    fn send(&mut self, datagram: &[u8]);
    fn receive(&mut self, patience: Duration) -> Option<Vec<u8>>;

    fn forward(&mut self, node_id: &[u8], inner: &[u8]) {
        self.send(&wrapped(node_id, inner));
    }

    fn expect(&mut self, node_id: &[u8], inner: &[u8]) {
        let datagram = self.receive(PATIENCE).expect("in time");
        assert_eq!(datagram, wrapped(node_id, inner));
    }

    /// Expects a PUBLISH with a payload, and answers it.
    fn expect_publication(&mut self, node_id: &[u8], payload: u8) {
        let datagram = self.receive(PATIENCE).expect("in time");
        let [head @ .., high, low, own_payload] = &datagram[..] else {
            panic!("{datagram:?}");
        };
        let publish = wrapped(node_id, &[8, 0x0C, 0x22, b'c', b'm']);
        assert_eq!((head, *own_payload), (&publish[..], payload));
        self.forward(node_id, &[7, 0x0D, b'c', b'm', *high, *low, 0]);
    }

    fn expect_nothing(&mut self) {
        assert_eq!(self.receive(QUIET), None);
    }
}

impl Forwarder for Socket {
    fn send(&mut self, datagram: &[u8]) {
        self.0.send(datagram).unwrap();
    }

    fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let mut datagram = [0; 256];
        let len = self.0.recv(&mut datagram).ok()?;
        Some(datagram[..len].to_vec())
    }
}

impl Forwarder for LineEnd {
    fn send(&mut self, datagram: &[u8]) {
        self.radio.0.write_all(&frame(datagram)).unwrap();
    }

    fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        self.datagrams.recv_timeout(patience).ok()
    }
}

/// A gateway with a UDP link, to which `forwarders` may forward, and a serial line.
struct Running {
    address: SocketAddr,
    line: LineEnd,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(forwarders: &[&Socket]) -> Self {
        let (radio, path) = Radio::new();
        let udp = UdpConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            forwarders: forwarders
                .iter()
                .map(|it| it.address().to_string().parse().unwrap())
                .collect(),
            ..UdpConfig::default()
        };
        let link = |name: &str, kind| LinkConfig {
            name: name.to_owned(),
            kind,
            ..LinkConfig::default()
        };
        let mut config = Config {
            links: vec![
                link("lan", LinkKind::Udp(udp)),
                link("radio", LinkKind::Serial(SerialConfig::new(&path))),
            ],
            ..Config::default()
        };
        config.broker.listen = "127.0.0.1:0".parse().unwrap();
        let gateway = Gateway::start(&config).await.unwrap();
        let address = gateway.links()[0].local_address().unwrap();
        let start = Instant::now();
        while !gateway.links()[1].is_up() {
            assert!(start.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for socket in forwarders {
            socket.connect(address);
        }
        let (stop, stopped) = oneshot::channel();
        Self {
            address,
            line: LineEnd::of(radio),
            stop,
            task: tokio::spawn(async move {
                gateway
                    .run(async {
                        let _ = stopped.await;
                    })
                    .await;
            }),
        }
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

/// A node of its own that publishes commands.
struct Commander {
    socket: Socket,
    id: u8,
}

impl Commander {
    fn connect(gateway: SocketAddr) -> Self {
        let mut socket = Socket::bind();
        socket.connect(gateway);
        socket.send(&[8, 0x04, 0x04, 1, 0, 200, b'p', b'1']);
        assert_eq!(socket.receive(PATIENCE).unwrap(), CONNACK);
        socket.send(SUBSCRIBE);
        assert_eq!(socket.receive(PATIENCE).unwrap(), SUBACK);
        Self { socket, id: 0 }
    }

    /// Publishes, and waits until it has come down to all who have subscribed, itself among
    /// them.
    fn publish(&mut self, payload: u8) {
        self.id += 1;
        self.socket.send(&publish(self.id, payload));
        let mut missing = 2;
        while missing > 0 {
            let datagram = self.socket.receive(PATIENCE).expect("in time");
            match datagram[..] {
                [7, 0x0D, .., 0, id, 0] => assert_eq!(id, self.id),
                [8, 0x0C, .., high, low, own] => {
                    assert_eq!(own, payload);
                    self.socket.send(&[7, 0x0D, b'c', b'm', high, low, 0]);
                }
                _ => panic!("{datagram:?}"),
            }
            missing -= 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d35_a_connected_node_moves_between_forwarders() {
    let (mut first, mut second) = (Socket::bind(), Socket::bind());
    let running = Running::start(&[&first, &second]).await;
    let mut commander = Commander::connect(running.address);

    // The forwarders name the node as they like.
    let (at_first, at_second) = (&b"\x0A"[..], &b"\xB0\x0B"[..]);
    first.forward(at_first, CONNECT);
    first.expect(at_first, CONNACK);
    first.forward(at_first, SUBSCRIBE);
    first.expect(at_first, SUBACK);
    commander.publish(1);
    first.expect_publication(at_first, 1);

    // A node that has moved is nobody at the new place until it connects there.
    second.forward(at_second, &publish(9, 0));
    second.expect(at_second, DISCONNECT);
    second.forward(at_second, CONNECT);
    second.expect(at_second, CONNACK);
    // D-29: whoever is still there is told, once.
    first.expect(at_first, DISCONNECT);
    commander.publish(2);
    second.expect_publication(at_second, 2);
    first.expect_nothing();

    // And back again, as often as it likes.
    first.forward(at_first, CONNECT);
    first.expect(at_first, CONNACK);
    second.expect(at_second, DISCONNECT);
    commander.publish(3);
    first.expect_publication(at_first, 3);
    second.expect_nothing();
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d31_a_sleeping_node_wakes_at_another_forwarder_and_on_another_link() {
    let (mut first, mut second) = (Socket::bind(), Socket::bind());
    let mut running = Running::start(&[&first, &second]).await;
    let mut commander = Commander::connect(running.address);
    let (at_first, at_second, on_line) = (&b"\x01"[..], &b"\x01"[..], &b"\x77"[..]);
    first.forward(at_first, CONNECT);
    first.expect(at_first, CONNACK);
    first.forward(at_first, SUBSCRIBE);
    first.expect(at_first, SUBACK);
    first.forward(at_first, SLEEP);
    first.expect(at_first, DISCONNECT);

    // The same node id at another forwarder, which is another binding.
    commander.publish(1);
    second.forward(at_second, WAKE);
    second.expect_publication(at_second, 1);
    second.expect(at_second, PINGRESP);

    commander.publish(2);
    running.line.forward(on_line, WAKE);
    running.line.expect_publication(on_line, 2);
    running.line.expect(on_line, PINGRESP);

    commander.publish(3);
    first.forward(at_first, WAKE);
    first.expect_publication(at_first, 3);
    first.expect(at_first, PINGRESP);
    for forwarder in [
        &mut first as &mut dyn Forwarder,
        &mut second,
        &mut running.line,
    ] {
        forwarder.expect_nothing();
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d35_only_configured_forwarders_are_heard_and_only_one_deep() {
    let (mut listed, mut stranger) = (Socket::bind(), Socket::bind());
    let mut running = Running::start(&[&listed]).await;
    stranger.connect(running.address);
    let node_id = &b"\x01"[..];
    stranger.forward(node_id, CONNECT);
    stranger.expect_nothing();
    for forwarder in [&mut listed as &mut dyn Forwarder, &mut running.line] {
        let nested = wrapped(node_id, CONNECT);
        forwarder.forward(node_id, &nested);
        // The inner message is checked as any datagram.
        forwarder.forward(node_id, &[9, 0x04, 0x00, 1, 0, 200, b'n', b'1']);
        forwarder.expect_nothing();
        forwarder.forward(node_id, CONNECT);
        forwarder.expect(node_id, CONNACK);
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d35_nodes_of_one_forwarder_are_told_apart() {
    let mut forwarder = Socket::bind();
    let running = Running::start(&[&forwarder]).await;
    let mut commander = Commander::connect(running.address);
    for node_id in 1..=3 {
        forwarder.forward(
            &[node_id],
            &[8, 0x04, 0x04, 1, 0, 200, b'm', b'0' + node_id],
        );
        forwarder.expect(&[node_id], CONNACK);
    }
    forwarder.forward(&[2], SUBSCRIBE);
    forwarder.expect(&[2], SUBACK);
    commander.publish(1);
    forwarder.expect_publication(&[2], 1);
    forwarder.expect_nothing();
    running.end().await;
}
