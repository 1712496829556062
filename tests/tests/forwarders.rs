//! Nodes behind forwarders, on UDP and on a serial line, and from one to the other
//! [MQTT-SN 1.2 §5.5] D-35.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use shared::wire::{Disconnect, Message, PingReq, QoS, TopicFilter, TopicRef};
use tests::{
    Carrier, MosquittoClient, MqttProbe, PATIENCE, ProbeOptions, Sandgrouse, SnNode, SnSocket,
    config, free_tcp_port, free_udp_port,
};

/// A gateway with the embedded broker, two UDP forwarders that it knows and a serial one.
struct Rig {
    gateway: Sandgrouse,
    probe: MqttProbe,
    client: MosquittoClient,
    east: Carrier,
    west: Carrier,
    line: Carrier,
}

impl Rig {
    fn start() -> Result<Self> {
        let (udp_port, mqtt_port) = (free_udp_port()?, free_tcp_port()?);
        let gateway_address = (Ipv4Addr::LOCALHOST, udp_port).into();
        let east = Carrier::udp(host(EAST, free_udp_port()?), gateway_address)?;
        let west_address = host(WEST, free_udp_port()?);
        let west = Carrier::udp(west_address, gateway_address)?;
        let line = Carrier::serial()?;
        let device = line.device().expect("a line has a device");
        // One by its address alone, one with its port.
        let text = format!(
            "{}forwarders = [\"127.0.0.{EAST}\", \"{west_address}\"]\n{}",
            config::udp_with_embedded_broker(udp_port, mqtt_port),
            config::serial_link(&device)
        );
        let gateway = Sandgrouse::with_config(udp_port, text)?;
        Ok(Self {
            probe: MqttProbe::start(ProbeOptions::at(mqtt_port, &["up/#"]))?,
            client: MosquittoClient::at(mqtt_port),
            gateway,
            east,
            west,
            line,
        })
    }

    fn connect(&self, socket: SnSocket, client_id: &str) -> Result<SnNode> {
        let mut node = SnNode::over(socket, client_id);
        // What shall outlive a move must not be a clean session's (D-12).
        node.open_session(false)?;
        let filter = format!("down/{client_id}");
        node.subscribe(TopicFilter::Name(filter.as_bytes()), QoS::ExactlyOnce)?;
        Ok(node)
    }

    /// A publication comes up from the node and another one down to it.
    fn serves(&self, node: &mut SnNode, client_id: &str, text: &str) -> Result<()> {
        let seen = self.probe.count();
        let topic = TopicRef::Normal(node.register(&format!("up/{client_id}"))?);
        node.publish(topic, QoS::ExactlyOnce, text.as_bytes())?;
        let received = self.probe.wait_for(seen + 1, PATIENCE)?;
        let last = received.last().expect("it was waited for");
        ensure!(last.topic == format!("up/{client_id}"), "{last:?}");
        ensure!(last.payload == text.as_bytes(), "{last:?}");
        self.client
            .publish(&format!("down/{client_id}"), text, 2, false)?;
        let got = node.deliveries(1, PATIENCE)?;
        ensure!(got[0].payload == text.as_bytes(), "{got:?}");
        Ok(())
    }
}

#[test]
fn d35_the_same_node_id_at_three_forwarders_is_three_nodes() -> Result<()> {
    let rig = Rig::start()?;
    let places = [
        ("east", rig.east.attach(&[0, 1])),
        ("west", rig.west.attach(&[0, 1])),
        ("line", rig.line.attach(&[0, 1])),
        // Node ids are of any size, and the line itself may be a node.
        ("one", rig.east.attach(&[1])),
        ("eui", rig.line.attach(&[1, 2, 3, 4, 5, 6, 7, 8])),
        ("alone", rig.line.attach_alone()),
    ];
    let mut nodes = Vec::new();
    for (name, place) in places {
        nodes.push((name, rig.connect(place, name)?));
    }
    for (name, node) in &mut nodes {
        rig.serves(node, name, "first")?;
    }
    for (name, node) in &mut nodes {
        rig.serves(node, name, "second")?;
        ensure!(node.delivery(QUIET)?.is_none(), "{name} hears others");
    }
    let unknown = [&rig.east, &rig.west, &rig.line].map(Carrier::unknown);
    ensure!(unknown == [0; 3], "for nobody: {unknown:?}");
    Ok(())
}

#[test]
fn d31_a_sleeper_that_wakes_behind_another_forwarder_gets_its_mail_there() -> Result<()> {
    let rig = Rig::start()?;
    let mut node = rig.connect(rig.east.attach(&[5]), "mover")?;
    let places = [
        rig.west.attach(&[6]),
        rig.line.attach(&[5]),
        SnSocket::open(rig.gateway.address())?,
        rig.east.attach(&[50]),
    ];
    for (number, place) in places.into_iter().enumerate() {
        node.sleep(60)?;
        let text = number.to_string();
        rig.client.publish("down/mover", &text, 2, false)?;
        node.move_to(place);
        // It may be asleep before the publication is there: then another wake brings it.
        let start = std::time::Instant::now();
        let got = loop {
            node.wake()?;
            if let Some(got) = node.delivery(Duration::ZERO)? {
                break got;
            }
            ensure!(start.elapsed() < PATIENCE, "nothing came to place {number}");
        };
        ensure!(got.payload == text.as_bytes(), "{got:?}");
        ensure!(node.delivery(QUIET)?.is_none(), "once is enough");
        node.open_session(false)?;
    }
    rig.serves(&mut node, "mover", "back again")
}

#[test]
fn d29_a_node_that_connects_behind_another_forwarder_takes_its_session_along() -> Result<()> {
    let rig = Rig::start()?;
    let mut node = rig.connect(rig.east.attach(&[7]), "mover")?;
    rig.serves(&mut node, "mover", "east")?;
    let places = [rig.west.attach(&[7]), rig.line.attach(&[7])];
    for (number, place) in places.into_iter().enumerate() {
        let mut moved = SnNode::over(place, "mover");
        moved.open_session(false)?;
        // [MQTT-SN 1.2 §6.12] The place it has left is told, once.
        node.socket().expect(PATIENCE, |m| *m == GOOD_BYE)?;
        rig.serves(&mut moved, "mover", &number.to_string())?;
        let more = node.socket().receive(QUIET)?;
        ensure!(more.is_none(), "at the place it left: {more:?}");
        node = moved;
    }
    Ok(())
}

#[test]
fn d31_a_ping_from_elsewhere_does_not_move_a_node_that_is_awake() -> Result<()> {
    let rig = Rig::start()?;
    let mut node = rig.connect(rig.east.attach(&[9]), "awake")?;
    let elsewhere = rig.line.attach(&[9]);
    let ping = PingReq {
        client_id: b"awake",
    };
    elsewhere.send(&Message::PingReq(ping))?;
    elsewhere.expect(PATIENCE, |m| *m == GOOD_BYE)?;
    rig.serves(&mut node, "awake", "still here")
}

#[test]
fn a14_another_node_at_a_known_place_takes_the_place_only() -> Result<()> {
    let rig = Rig::start()?;
    let mut first = rig.connect(rig.east.attach(&[3]), "first")?;
    let mut second = rig.connect(rig.east.attach(&[3]), "second")?;
    rig.serves(&mut second, "second", "mine")?;
    first.move_to(rig.west.attach(&[3]));
    first.open_session(true)?;
    first.subscribe(TopicFilter::Name(b"down/first"), QoS::ExactlyOnce)?;
    rig.serves(&mut first, "first", "over here")?;
    rig.serves(&mut second, "second", "still mine")
}

#[test]
fn d35_a_forwarder_that_is_not_listed_is_not_heard() -> Result<()> {
    let rig = Rig::start()?;
    let address = rig.gateway.address();
    // Nobody's address, and a listed one with another port.
    for local in [host(99, 0), host(WEST, 0)] {
        let unlisted = Carrier::udp(local, address)?;
        let mut node = SnNode::over(unlisted.attach(&[1]), "smuggled");
        node.set_retry(Duration::from_millis(20));
        ensure!(node.open_session(true).is_err(), "it was let in");
        ensure!(unlisted.received() == 0, "it was answered");
    }
    // Their own messages, not encapsulated, are those of any node.
    let mut node = SnNode::over(SnSocket::open_from(host(99, 0), address)?, "own");
    node.open_session(true)
}

#[test]
fn d35_an_encapsulation_within_an_encapsulation_is_not_heard() -> Result<()> {
    let rig = Rig::start()?;
    let node = rig.line.attach(&[1]);
    let mut nested = vec![4, 0xFE, 0, 2];
    nested.extend_from_slice(&[2, 0x16]);
    node.send_bytes(&nested)?;
    // The good one behind it is answered first, so the other never is.
    node.send_bytes(&[2, 0x16])?;
    node.expect(PATIENCE, |m| *m == GOOD_BYE)?;
    let more = node.receive(QUIET)?;
    ensure!(more.is_none() && rig.line.received() == 1, "{more:?}");
    Ok(())
}

fn host(octet: u8, port: u16) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, octet), port).into()
}

const EAST: u8 = 11;
const WEST: u8 = 12;
const GOOD_BYE: Message<'_> = Message::Disconnect(Disconnect { duration_s: None });
/// Long enough for what should not come.
const QUIET: Duration = Duration::from_millis(200);
