//! The embedded broker, by a client that is not its own.

use std::net::SocketAddr;
use std::time::Duration;

use gateway::broker::{BrokerError, EmbeddedBroker};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectProperties, LastWill, Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const LOOPBACK: &str = "127.0.0.1:0";
const PATIENCE: Duration = Duration::from_secs(20);

async fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start(LOOPBACK.parse().unwrap())
        .await
        .unwrap()
}

fn options(address: SocketAddr, id: &str) -> MqttOptions {
    let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(600);
    options
        .set_connect_properties(properties)
        .set_clean_start(false)
        .set_outgoing_inflight_upper_limit(100);
    options
}

/// A client whose events come out of a channel; aborted, its TCP connection breaks.
struct Client {
    mqtt: AsyncClient,
    packets: UnboundedReceiver<Packet>,
    task: JoinHandle<()>,
}

impl Client {
    async fn connect(options: MqttOptions) -> Self {
        let (mqtt, eventloop) = AsyncClient::new(options, 64);
        let (tx, packets) = unbounded_channel();
        let task = tokio::spawn(poll(eventloop, tx));
        let mut client = Self {
            mqtt,
            packets,
            task,
        };
        client
            .next(|packet| matches!(packet, Packet::ConnAck(_)))
            .await;
        client
    }

    async fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.mqtt.subscribe(filter, qos).await.unwrap();
        self.next(|packet| matches!(packet, Packet::SubAck(_)))
            .await;
    }

    async fn publish(&mut self, topic: &str, qos: QoS, retain: bool, payload: impl Into<Vec<u8>>) {
        let payload: Vec<u8> = payload.into();
        self.mqtt
            .publish(topic, qos, retain, payload)
            .await
            .unwrap();
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => drop(self.next(|p| matches!(p, Packet::PubAck(_))).await),
            QoS::ExactlyOnce => drop(self.next(|p| matches!(p, Packet::PubComp(_))).await),
        }
    }

    async fn next(&mut self, wanted: impl Fn(&Packet) -> bool) -> Packet {
        timeout(PATIENCE, async {
            loop {
                let packet = self.packets.recv().await.expect("connection lost");
                if wanted(&packet) {
                    return packet;
                }
            }
        })
        .await
        .expect("no such packet in time")
    }

    async fn next_publish(&mut self) -> Publish {
        match self
            .next(|packet| matches!(packet, Packet::Publish(_)))
            .await
        {
            Packet::Publish(publish) => publish,
            other => panic!("{other:?}"),
        }
    }

    async fn expect_silence(&mut self) {
        let more = timeout(Duration::from_millis(300), self.next_publish()).await;
        assert!(more.is_err(), "{more:?}");
    }

    async fn leave(mut self) {
        self.mqtt.disconnect().await.unwrap();
        timeout(PATIENCE, &mut self.task).await.unwrap().unwrap();
    }

    fn break_off(self) {
        self.task.abort();
    }
}

async fn poll(mut eventloop: EventLoop, tx: tokio::sync::mpsc::UnboundedSender<Packet>) {
    while let Ok(event) = eventloop.poll().await {
        match event {
            Event::Incoming(packet) => drop(tx.send(packet)),
            Event::Outgoing(rumqttc::Outgoing::Disconnect) => return,
            Event::Outgoing(_) => {}
        }
    }
}

#[tokio::test]
async fn every_level_arrives_at_the_lower_of_both() {
    let broker = broker().await;
    let mut source = Client::connect(options(broker.address(), "source")).await;
    let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for subscribed in levels {
        let id = format!("sink{}", subscribed as u8);
        let mut sink = Client::connect(options(broker.address(), &id)).await;
        sink.subscribe("level/+", subscribed).await;
        for published in levels {
            let topic = format!("level/{}", published as u8);
            source.publish(&topic, published, false, "x").await;
            let publish = sink.next_publish().await;
            assert_eq!(publish.topic, topic);
            let lower = if subscribed < published {
                subscribed
            } else {
                published
            };
            assert_eq!(publish.qos, lower, "{published:?} to {subscribed:?}");
            assert!(!publish.retain);
        }
        sink.expect_silence().await;
        sink.leave().await;
    }
    source.leave().await;
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_retained_message_waits_for_subscribers_until_cleared() {
    let broker = broker().await;
    let mut source = Client::connect(options(broker.address(), "source")).await;
    source.publish("r/a", QoS::AtLeastOnce, true, "old").await;
    source.publish("r/a", QoS::AtLeastOnce, true, "new").await;
    let mut sink = Client::connect(options(broker.address(), "sink")).await;
    for _ in 0..2 {
        // Subscribed again, it is sent again: the gateway relies on that.
        sink.subscribe("r/#", QoS::AtLeastOnce).await;
        let publish = sink.next_publish().await;
        assert_eq!((&publish.payload[..], publish.retain), (&b"new"[..], true));
    }
    source.publish("r/a", QoS::AtLeastOnce, true, "").await;
    let cleared = sink.next_publish().await;
    assert!(cleared.payload.is_empty());
    sink.subscribe("r/#", QoS::AtLeastOnce).await;
    sink.expect_silence().await;
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_session_collects_while_its_client_is_away() {
    let broker = broker().await;
    let mut sink = Client::connect(options(broker.address(), "sink")).await;
    sink.subscribe("s/#", QoS::ExactlyOnce).await;
    sink.leave().await;
    let mut source = Client::connect(options(broker.address(), "source")).await;
    for n in 0..200 {
        let qos = if n % 2 == 0 {
            QoS::AtLeastOnce
        } else {
            QoS::ExactlyOnce
        };
        source.publish("s/x", qos, false, n.to_string()).await;
    }
    let mut sink = Client::connect(options(broker.address(), "sink")).await;
    for n in 0..200 {
        let publish = sink.next_publish().await;
        assert_eq!(publish.payload, n.to_string());
        let qos = if n % 2 == 0 {
            QoS::AtLeastOnce
        } else {
            QoS::ExactlyOnce
        };
        assert_eq!(publish.qos, qos);
    }
    sink.expect_silence().await;
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_will_is_published_for_a_broken_client_and_not_for_one_that_leaves() {
    let broker = broker().await;
    let mut sink = Client::connect(options(broker.address(), "sink")).await;
    sink.subscribe("will/#", QoS::AtLeastOnce).await;
    let with_will = |id: &str| {
        let mut options = options(broker.address(), id);
        let topic = format!("will/{id}");
        options.set_last_will(LastWill::new(topic, "gone", QoS::AtLeastOnce, false, None));
        options
    };
    Client::connect(with_will("polite")).await.leave().await;
    Client::connect(with_will("broken")).await.break_off();
    let publish = sink.next_publish().await;
    assert_eq!(publish.topic, "will/broken");
    assert_eq!(publish.payload, "gone");
    sink.expect_silence().await;
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn ten_thousand_messages_arrive_once_and_in_order() {
    const COUNT: u32 = 10_000;
    let broker = broker().await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let id = format!("sink{}", qos as u8);
        let mut sink = Client::connect(options(broker.address(), &id)).await;
        sink.subscribe("many", qos).await;
        let source = Client::connect(options(broker.address(), "source")).await;
        let mqtt = source.mqtt.clone();
        let feeder = tokio::spawn(async move {
            for n in 0..COUNT {
                mqtt.publish("many", qos, false, n.to_be_bytes().to_vec())
                    .await
                    .unwrap();
            }
        });
        for n in 0..COUNT {
            let publish = sink.next_publish().await;
            assert_eq!(publish.payload, n.to_be_bytes().to_vec(), "at {qos:?}");
        }
        sink.expect_silence().await;
        feeder.await.unwrap();
        source.leave().await;
        sink.leave().await;
    }
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let first = broker().await;
    let error = EmbeddedBroker::start(first.address()).await.unwrap_err();
    assert!(matches!(error, BrokerError::AddressInUse(address) if address == first.address()));
    assert!(error.to_string().contains(&first.address().to_string()));
    let address = first.address();
    first.shutdown().await.unwrap();
    let second = EmbeddedBroker::start(address)
        .await
        .expect("it is free again");
    second.shutdown().await.unwrap();
}

#[tokio::test]
async fn dropped_it_ends() {
    let first = broker().await;
    let address = first.address();
    drop(first);
    timeout(PATIENCE, async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it serves on");
}
