//! What the engine costs for each message, without sockets: a thousand connected nodes.

use std::hint::black_box;
use std::net::SocketAddr;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::session::{
    Binding, Delivery, DeliveryId, Engine, LinkId, Output, Peer, Publication, Settings,
    UpstreamEvent, UpstreamRequest,
};
use shared::rng::Rng;
use shared::time::Instant;
use shared::wire::{
    Acknowledgement, Connect, Message, MsgId, PingReq, Publish, QoS, Register, ReturnCode,
    Subscribe, TopicFilter, TopicId, TopicRef,
};

const NODES: u16 = 1000;
/// The id that the first REGISTER of a session is given.
const FIRST_ID: TopicId = TopicId(1025);

fn binding(node: u16) -> Binding {
    let peer = Peer::Socket(SocketAddr::from(([127, 0, 0, 1], 1024 + node)));
    Binding {
        link: LinkId(0),
        peer,
        node_id: None,
    }
}

fn datagram(message: &Message<'_>) -> Bytes {
    let mut buf = vec![0; message.encoded_len()];
    message
        .emit(&mut buf)
        .expect("the buffer has the message's length");
    buf.into()
}

fn drain(engine: &mut Engine, mut each: impl FnMut(&mut Engine, Output)) {
    while let Some(output) = engine.poll_output() {
        each(engine, output);
    }
}

/// An engine whose nodes are connected, have one topic and one subscription each.
fn populated(now: Instant) -> Engine {
    let mut engine = Engine::new(Settings::default(), Rng::new(1), now);
    engine.handle_upstream(now, UpstreamEvent::Connected);
    for node in 0..NODES {
        let id = format!("node-{node}");
        let connect = Connect {
            will: false,
            clean: true,
            protocol_id: 1,
            duration_s: 3600,
            client_id: id.as_bytes(),
        };
        engine.handle_datagram(now, binding(node), &datagram(&Message::Connect(connect)));
        let name = format!("plant/{node}/temperature");
        let topic_name = name.as_bytes();
        let register = Register {
            topic_id: TopicId::NONE,
            msg_id: MsgId(1),
            topic_name,
        };
        engine.handle_datagram(now, binding(node), &datagram(&Message::Register(register)));
        let filter = format!("cmd/{node}");
        let topic = TopicFilter::Name(filter.as_bytes());
        let subscribe = Subscribe {
            dup: false,
            qos: QoS::AtLeastOnce,
            msg_id: MsgId(2),
            topic,
        };
        engine.handle_datagram(
            now,
            binding(node),
            &datagram(&Message::Subscribe(subscribe)),
        );
    }
    drain(&mut engine, |engine, output| {
        if let Output::Upstream(UpstreamRequest::Subscribe { filter, qos }) = output {
            engine.handle_upstream(
                now,
                UpstreamEvent::Subscribed {
                    filter,
                    result: Ok(qos),
                },
            );
        }
    });
    engine
}

fn publish_up(c: &mut Criterion) {
    let now = Instant::from_millis(1000);
    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(1));
    for (name, qos) in [
        ("uplink QoS 0", QoS::AtMostOnce),
        ("uplink QoS 1", QoS::AtLeastOnce),
    ] {
        let mut engine = populated(now);
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic: TopicRef::Normal(FIRST_ID),
            msg_id: MsgId(9),
            payload: &[7; 24],
        };
        let datagram = datagram(&Message::Publish(publish));
        let mut node = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                node = (node + 1) % NODES;
                engine.handle_datagram(now, binding(node), &datagram);
                drain(&mut engine, |engine, output| {
                    if let Output::Upstream(UpstreamRequest::Publish { id, .. }) = output {
                        let result = Ok(());
                        engine.handle_upstream(now, UpstreamEvent::Published { id, result });
                    } else {
                        let _ = black_box(output);
                    }
                });
            });
        });
    }
    group.finish();
}

fn publish_down(c: &mut Criterion) {
    let now = Instant::from_millis(1000);
    let mut engine = populated(now);
    let topics: Vec<_> = (0..NODES)
        .map(|node| format!("cmd/{node}").into())
        .collect();
    let mut count = 0_u64;
    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(1));
    group.bench_function("downlink QoS 1", |b| {
        b.iter(|| {
            count += 1;
            let node = u16::try_from(count % u64::from(NODES)).expect("below the node count");
            let publication = Publication {
                topic: std::sync::Arc::clone(&topics[usize::from(node)]),
                payload: Bytes::from_static(&[7; 24]),
                qos: QoS::AtLeastOnce,
                retain: false,
            };
            let id = Some(DeliveryId(count));
            engine.handle_upstream(now, UpstreamEvent::Delivery(Delivery::new(id, publication)));
            drain(&mut engine, |engine, output| {
                let Output::Transmit {
                    binding,
                    datagram: sent,
                    ..
                } = output
                else {
                    return;
                };
                let Ok(Message::Publish(publish)) = Message::parse(&sent) else {
                    return;
                };
                let ack = Acknowledgement {
                    topic_id: publish.topic.topic_id(),
                    msg_id: publish.msg_id,
                    return_code: ReturnCode::Accepted,
                };
                engine.handle_datagram(now, binding, &datagram(&Message::PubAck(ack)));
            });
        });
    });
    group.finish();
}

fn ping(c: &mut Criterion) {
    let now = Instant::from_millis(1000);
    let mut engine = populated(now);
    let ping = datagram(&Message::PingReq(PingReq { client_id: &[] }));
    let mut node = 0;
    c.bench_function("engine/ping", |b| {
        b.iter(|| {
            node = (node + 1) % NODES;
            engine.handle_datagram(now, binding(node), &ping);
            drain(&mut engine, |_, output| {
                let _ = black_box(output);
            });
        });
    });
}

criterion_group!(benches, publish_up, publish_down, ping);
criterion_main!(benches);
