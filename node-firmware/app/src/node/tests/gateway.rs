//! A gateway that does what MQTT-SN 1.2 asks of one, for one node, and keeps what it was told.

use std::collections::VecDeque;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use shared::wire::{
    Acknowledgement, ConnAck, Disconnect, Message, MsgId, Publish, QoS, ReturnCode, SubAck,
    TopicFilter, TopicId, TopicRef,
};

#[derive(Default)]
pub(super) struct Gateway {
    /// Whether nothing reaches it and nothing comes from it.
    pub(super) away: bool,
    /// What was published at QoS 1, repetitions by message id left out.
    pub(super) published: Vec<(String, Vec<u8>)>,
    /// Commands that wait for the node.
    pub(super) mailbox: VecDeque<Vec<u8>>,
    pub(super) connects: u32,
    pub(super) sleeps: Vec<u16>,
    pub(super) pings: u32,
    known: bool,
    topics: Vec<String>,
    filter: Option<TopicId>,
    last_msg_id: Option<MsgId>,
    in_flight: Option<MsgId>,
    next_msg_id: u16,
    waking: bool,
}

impl Gateway {
    /// Forgets the node, as after a restart without a store.
    pub(super) fn forget(&mut self) {
        self.known = false;
        self.topics.clear();
        self.filter = None;
        self.in_flight = None;
    }

    /// Takes a datagram and returns the answers.
    pub(super) fn take(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        if self.away {
            return vec![];
        }
        let message = Message::parse(datagram).expect("the node sends messages");
        if !self.known && !matches!(message, Message::Connect(_)) {
            return vec![emit(&DISCONNECT)];
        }
        match message {
            Message::Connect(_) => {
                self.connects += 1;
                self.known = true;
                self.waking = false;
                let accepted = ReturnCode::Accepted;
                let answer = Message::ConnAck(ConnAck {
                    return_code: accepted,
                });
                vec![emit(&answer)]
            }
            Message::Register(register) => {
                let id = self.topic_id(register.topic_name);
                vec![emit(&Message::RegAck(ack(id, register.msg_id)))]
            }
            Message::Subscribe(subscribe) => {
                let TopicFilter::Name(name) = subscribe.topic else {
                    panic!("the tests name their topics");
                };
                let id = self.topic_id(name);
                self.filter = Some(id);
                vec![emit(&Message::SubAck(SubAck {
                    qos: subscribe.qos,
                    topic_id: id,
                    msg_id: subscribe.msg_id,
                    return_code: ReturnCode::Accepted,
                }))]
            }
            Message::Publish(publish) => self.publish(&publish),
            Message::PubAck(ack) => {
                if self.in_flight == Some(ack.msg_id) {
                    self.in_flight = None;
                    self.mailbox.pop_front();
                }
                self.next_delivery()
            }
            Message::PingReq(ping) => {
                assert_eq!(ping.client_id, b"node-1");
                self.pings += 1;
                self.waking = true;
                self.next_delivery()
            }
            Message::Disconnect(disconnect) => {
                self.sleeps.push(disconnect.duration_s.expect("a sleep"));
                vec![emit(&DISCONNECT)]
            }
            other => panic!("the node sent {other:?}"),
        }
    }

    fn publish(&mut self, publish: &Publish<'_>) -> Vec<Vec<u8>> {
        let TopicRef::Normal(id) = publish.topic else {
            panic!("the tests name their topics");
        };
        assert_eq!(publish.qos, QoS::AtLeastOnce);
        let topic = self.topics.get(usize::from(id.0 - 1)).expect("registered");
        if self.last_msg_id != Some(publish.msg_id) {
            self.last_msg_id = Some(publish.msg_id);
            self.published
                .push((topic.clone(), publish.payload.to_vec()));
        }
        vec![emit(&Message::PubAck(ack(id, publish.msg_id)))]
    }

    /// Returns the next message of a wake: a command, the same one again, or PINGRESP.
    fn next_delivery(&mut self) -> Vec<Vec<u8>> {
        if !self.waking {
            return vec![];
        }
        let Some((payload, id)) = self.mailbox.front().zip(self.filter) else {
            self.waking = false;
            return vec![emit(&Message::PingResp)];
        };
        let dup = self.in_flight.is_some();
        let msg_id = self.in_flight.unwrap_or_else(|| {
            self.next_msg_id += 1;
            MsgId(self.next_msg_id)
        });
        self.in_flight = Some(msg_id);
        vec![emit(&Message::Publish(Publish {
            dup,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: TopicRef::Normal(id),
            msg_id,
            payload,
        }))]
    }

    fn topic_id(&mut self, name: &[u8]) -> TopicId {
        let name = core::str::from_utf8(name).unwrap().to_string();
        let index = self.topics.iter().position(|known| *known == name);
        let index = index.unwrap_or_else(|| {
            self.topics.push(name);
            self.topics.len() - 1
        });
        TopicId(u16::try_from(index + 1).unwrap())
    }
}

fn ack(topic_id: TopicId, msg_id: MsgId) -> Acknowledgement {
    Acknowledgement {
        topic_id,
        msg_id,
        return_code: ReturnCode::Accepted,
    }
}

fn emit(message: &Message<'_>) -> Vec<u8> {
    let mut buf = [0; 256];
    let len = message.emit(&mut buf).unwrap();
    buf[..len].to_vec()
}

const DISCONNECT: Message<'static> = Message::Disconnect(Disconnect { duration_s: None });
