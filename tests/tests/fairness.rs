//! Nodes that never answer and never stop: nobody else has to wait for them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use shared::wire::{
    Connect, Message, MsgId, Publish, QoS, Register, ReturnCode, Subscribe, TopicFilter, TopicId,
    TopicRef,
};
use tests::{
    Mosquitto, MosquittoOptions, MqttProbe, PATIENCE, ProbeOptions, Sandgrouse, SnNode, SnSocket,
    config, free_udp_port,
};

#[test]
fn nodes_that_never_answer_keep_no_publication_from_others() -> Result<()> {
    let broker = Mosquitto::start(MosquittoOptions::default())?;
    let probe = MqttProbe::start(ProbeOptions::new(&broker, &["up/#"]))?;
    let udp_port = free_udp_port()?;
    let text = config::udp_link(udp_port) + "t_retry = \"200ms\"\n" + &config::upstream(&broker);
    let gateway = Sandgrouse::with_config(udp_port, text)?;
    let address = gateway.address();
    let silent: Vec<SnSocket> = SILENT
        .iter()
        .map(|(name, qos)| silent_node(address, name, *qos))
        .collect::<Result<_>>()?;
    let listeners: Vec<SnNode> = (0..LISTENERS)
        .map(|number| listener(address, number))
        .collect::<Result<_>>()?;

    let client = &broker.client();
    let done = &AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let flood = scope.spawn(move || flood(&silent, done));
        let mut writers = Vec::new();
        for (name, _) in SILENT {
            let topic = format!("{name}/down");
            let lines = (0..TO_SILENT).map(|number| number.to_string());
            writers.push(scope.spawn(move || client.publish_lines(&topic, 2, lines)));
        }
        let others: Vec<_> = listeners
            .into_iter()
            .enumerate()
            .map(|(number, node)| scope.spawn(move || work(node, number)))
            .collect();
        for number in 0..LISTENERS {
            let topic = format!("down/{number}");
            let lines = (0..EACH).map(|number| number.to_string());
            let qos = u8::try_from(1 + number % 2)?;
            writers.push(scope.spawn(move || client.publish_lines(&topic, qos, lines)));
        }
        let worked: Result<Vec<()>> = others.into_iter().map(joined).collect();
        done.store(true, Ordering::Relaxed);
        let wrote: Result<Vec<()>> = writers.into_iter().map(joined).collect();
        joined(flood)?;
        worked.and(wrote).map(drop)
    })?;

    let received = probe.wait_for(LISTENERS * EACH, PATIENCE)?;
    let mut by_topic: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for one in received {
        let number = std::str::from_utf8(&one.payload)?.parse()?;
        by_topic.entry(one.topic).or_default().push(number);
    }
    for number in 0..LISTENERS {
        let expected: Vec<usize> = (0..EACH).collect();
        ensure!(by_topic[&format!("up/{number}")] == expected, "{number}");
    }
    ensure!(gateway.udp_drops()? == 0, "the flood was the kernel's");
    Ok(())
}

/// Connects and subscribes, and answers nothing from then on.
fn silent_node(gateway: SocketAddr, name: &str, qos: QoS) -> Result<SnSocket> {
    let socket = SnSocket::open(gateway)?;
    socket.send(&Message::Connect(Connect {
        will: false,
        clean: true,
        protocol_id: Connect::PROTOCOL_ID,
        duration_s: 60,
        client_id: name.as_bytes(),
    }))?;
    let accepted = |m: &Message<'_>| matches!(m, Message::ConnAck(ack) if ack.return_code == ReturnCode::Accepted);
    socket.expect(PATIENCE, accepted)?;
    let filter = format!("{name}/#");
    socket.send(&Message::Subscribe(Subscribe {
        dup: false,
        qos,
        msg_id: MsgId(1),
        topic: TopicFilter::Name(filter.as_bytes()),
    }))?;
    socket.expect(PATIENCE, |m| matches!(m, Message::SubAck(_)))?;
    Ok(socket)
}

/// Sends requests without waiting for any answer, as fast as one node after another can.
fn flood(silent: &[SnSocket], done: &AtomicBool) -> Result<()> {
    let mut msg_id = MsgId::NONE;
    while !done.load(Ordering::Relaxed) {
        for socket in silent {
            msg_id = msg_id.next();
            for message in nuisances(msg_id) {
                socket.send(&message)?;
            }
            // Read, so that the kernel's queue for this socket says nothing; not answered.
            while socket.receive(std::time::Duration::ZERO)?.is_some() {}
        }
    }
    Ok(())
}

fn nuisances(msg_id: MsgId) -> [Message<'static>; 4] {
    let publish = |qos| {
        Message::Publish(Publish {
            dup: false,
            qos,
            retain: false,
            topic: TopicRef::Short(shared::wire::ShortName(*b"zz")),
            msg_id,
            payload: b"nuisance",
        })
    };
    [
        publish(QoS::AtLeastOnce),
        publish(QoS::ExactlyOnce),
        Message::Register(Register {
            topic_id: TopicId::NONE,
            msg_id,
            topic_name: b"nuisance",
        }),
        Message::Subscribe(Subscribe {
            dup: false,
            qos: QoS::AtLeastOnce,
            msg_id,
            topic: TopicFilter::Name(b"nuisance/+"),
        }),
    ]
}

fn listener(gateway: SocketAddr, number: usize) -> Result<SnNode> {
    let mut node = SnNode::connect(gateway, &format!("listener-{number}"))?;
    node.set_retry(PATIENCE);
    let filter = format!("down/{number}");
    node.subscribe(TopicFilter::Name(filter.as_bytes()), QoS::ExactlyOnce)?;
    Ok(node)
}

/// Publishes and listens at the same time; everything arrives, in order and once.
fn work(mut node: SnNode, number: usize) -> Result<()> {
    let topic = TopicRef::Normal(node.register(&format!("up/{number}"))?);
    for count in 0..EACH {
        node.publish(topic, QoS::AtLeastOnce, count.to_string().as_bytes())?;
    }
    let got = node.deliveries(EACH, PATIENCE)?;
    for (count, delivery) in got.iter().enumerate() {
        ensure!(
            delivery.payload == count.to_string().as_bytes(),
            "{count} expected by {number}: {delivery:?}"
        );
    }
    ensure!(node.repeats() == 0, "{number} had to ask twice");
    Ok(())
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().expect("a thread panicked")
}

const SILENT: [(&str, QoS); 4] = [
    ("silent-0", QoS::AtMostOnce),
    ("silent-1", QoS::AtLeastOnce),
    ("silent-2", QoS::ExactlyOnce),
    ("silent-3", QoS::ExactlyOnce),
];
/// Publications for each of them, many more than its mailbox holds.
const TO_SILENT: usize = 1_000;
const LISTENERS: usize = 10;
/// Publications each way for each of the others.
const EACH: usize = 50;
