//! What was seen on the air of one node.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use shared::wire::{Message, MessageType, MsgId, QoS, ReturnCode, TopicId, TopicRef};

/// What went over the air from and to one node, and what can be told from it.
///
/// Uplink is from the node to the gateway, downlink the other way. Frames and octets count
/// what was sent, lost or not; the gateway's frames count for the node that they name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Frames that the node sent.
    pub up_frames: u64,
    /// Octets of those frames.
    pub up_octets: u64,
    /// Those of them that the gateway did not get whole.
    pub up_lost: u64,
    /// Frames that the gateway sent to the node.
    pub down_frames: u64,
    /// Octets of those frames.
    pub down_octets: u64,
    /// Those of them that the node did not get whole.
    pub down_lost: u64,
    /// Requests that the node sent again because no answer had reached it.
    pub up_retries: u64,
    /// Requests that the gateway sent again because no answer had reached it.
    pub down_retries: u64,
    /// Times that the node woke from sleep to ask what waits for it.
    pub wakes: u64,
    /// Whether the node has been told that its subscription holds.
    pub subscribed: bool,
    /// Different publications that the node sent, by topic.
    pub sent: BTreeMap<String, u64>,
}

impl Tally {
    /// Returns how many different publications the node has sent to topics below `prefix`.
    #[must_use]
    pub fn sent_below(&self, prefix: &str) -> u64 {
        let below = self
            .sent
            .iter()
            .filter(|(topic, _)| topic.starts_with(prefix));
        below.map(|(_, count)| count).sum()
    }

    /// Returns the octets on the air, both ways.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.up_octets + self.down_octets
    }
}

/// Listens to the air of one node and keeps its tally.
#[derive(Clone, Debug, Default)]
pub(super) struct Listener {
    pub(super) tally: Tally,
    seen: BTreeSet<(String, Vec<u8>)>,
    names: Names,
    up_pending: Pending,
    down_pending: Pending,
}

impl Listener {
    /// Notes a message that the node sent, before anything is done to it.
    pub(super) fn node_sends(&mut self, message: &Message<'_>) {
        self.tally.up_retries += u64::from(self.up_pending.sends(message));
        self.names.node_sends(message);
        match message {
            Message::Publish(publish) => {
                if let Some(name) = self.names.of(publish.topic)
                    && self.seen.insert((name.clone(), publish.payload.to_vec()))
                {
                    *self.tally.sent.entry(name).or_default() += 1;
                }
            }
            Message::PingReq(ping) if !ping.client_id.is_empty() && !self.up_pending.repeated => {
                self.tally.wakes += 1;
            }
            _ => {}
        }
    }

    /// Notes a message that the gateway sent to the node, before anything is done to it.
    pub(super) fn gateway_sends(&mut self, message: &Message<'_>) {
        self.tally.down_retries += u64::from(self.down_pending.sends(message));
        self.names.gateway_sends(message);
    }

    /// Notes a message that reached the gateway whole.
    pub(super) fn gateway_gets(&mut self, message: &Message<'_>) {
        self.down_pending.gets(message);
    }

    /// Notes a message that reached the node whole.
    pub(super) fn node_gets(&mut self, message: &Message<'_>) {
        self.up_pending.gets(message);
        if let Message::SubAck(ack) = message
            && ack.return_code == ReturnCode::Accepted
        {
            self.tally.subscribed = true;
        }
    }
}

/// The request of one side that waits for its answer.
#[derive(Clone, Debug, Default)]
struct Pending {
    request: Option<Vec<u8>>,
    repeated: bool,
}

impl Pending {
    /// Takes a message that this side sends; returns whether it repeats the last request.
    fn sends(&mut self, message: &Message<'_>) -> bool {
        if !wants_answer(message) {
            return false;
        }
        let request = without_dup(message);
        self.repeated = self.request.as_ref() == Some(&request);
        self.request = Some(request);
        self.repeated
    }

    /// Takes a message that reaches this side; an answer ends the wait.
    fn gets(&mut self, message: &Message<'_>) {
        if is_answer(message) {
            self.request = None;
        }
    }
}

/// The names behind the topic ids of one session.
#[derive(Clone, Debug, Default)]
struct Names {
    asked: HashMap<MsgId, String>,
    known: HashMap<TopicId, String>,
}

impl Names {
    fn node_sends(&mut self, message: &Message<'_>) {
        if let Message::Register(register) = message {
            self.asked
                .insert(register.msg_id, text(register.topic_name));
        }
    }

    fn gateway_sends(&mut self, message: &Message<'_>) {
        let Message::RegAck(ack) = message else {
            return;
        };
        if ack.return_code == ReturnCode::Accepted
            && let Some(name) = self.asked.get(&ack.msg_id)
        {
            self.known.insert(ack.topic_id, name.clone());
        }
    }

    fn of(&self, topic: TopicRef) -> Option<String> {
        match topic {
            TopicRef::Normal(id) => self.known.get(&id).cloned(),
            TopicRef::Predefined(id) => Some(format!("#{id}")),
            TopicRef::Short(name) => Some(text(&name.0)),
        }
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

const fn wants_answer(message: &Message<'_>) -> bool {
    use MessageType as Type;
    match message {
        Message::Publish(publish) => {
            matches!(publish.qos, QoS::AtLeastOnce | QoS::ExactlyOnce)
        }
        other => matches!(
            other.kind(),
            Type::SearchGw
                | Type::Connect
                | Type::WillTopic
                | Type::WillMsg
                | Type::Register
                | Type::PubRel
                | Type::Subscribe
                | Type::Unsubscribe
                | Type::PingReq
                | Type::Disconnect
        ),
    }
}

const fn is_answer(message: &Message<'_>) -> bool {
    use MessageType as Type;
    matches!(
        message.kind(),
        Type::GwInfo
            | Type::ConnAck
            | Type::WillTopicReq
            | Type::WillMsgReq
            | Type::RegAck
            | Type::PubAck
            | Type::PubRec
            | Type::PubComp
            | Type::SubAck
            | Type::UnsubAck
            | Type::PingResp
            | Type::Disconnect
    )
}

/// Returns the message's octets with DUP off, which is all that a repetition may change.
fn without_dup(message: &Message<'_>) -> Vec<u8> {
    let mut message = *message;
    match &mut message {
        Message::Publish(publish) => publish.dup = false,
        Message::Subscribe(subscribe) => subscribe.dup = false,
        _ => {}
    }
    let mut octets = vec![0; message.encoded_len()];
    // A message that was parsed fits the length it says.
    let len = message.emit(&mut octets).unwrap_or(0);
    octets.truncate(len);
    octets
}

#[cfg(test)]
mod tests {
    use shared::wire::{Acknowledgement, PingReq, Publish, Register};

    use super::*;

    fn publish(id: u16, dup: bool) -> Message<'static> {
        Message::Publish(Publish {
            dup,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: TopicRef::Normal(TopicId(1025)),
            msg_id: MsgId(id),
            payload: b"21",
        })
    }

    fn ack(id: u16) -> Acknowledgement {
        Acknowledgement {
            topic_id: TopicId(1025),
            msg_id: MsgId(id),
            return_code: ReturnCode::Accepted,
        }
    }

    #[test]
    fn a_request_without_an_answer_in_between_is_a_retry() {
        let mut air = Listener::default();
        air.node_sends(&publish(1, false));
        air.node_sends(&publish(1, true));
        assert_eq!(air.tally.up_retries, 1);
        air.node_gets(&Message::PubAck(ack(1)));
        air.node_sends(&publish(2, false));
        assert_eq!(air.tally.up_retries, 1);
    }

    #[test]
    fn equal_wakes_are_no_retries_once_they_were_answered() {
        let mut air = Listener::default();
        let wake = Message::PingReq(PingReq { client_id: b"n" });
        air.node_sends(&wake);
        air.node_gets(&Message::PingResp);
        air.node_sends(&wake);
        assert_eq!((air.tally.up_retries, air.tally.wakes), (0, 2));
        air.node_sends(&wake);
        assert_eq!((air.tally.up_retries, air.tally.wakes), (1, 2));
    }

    #[test]
    fn the_gateway_retries_until_the_nodes_answer_reaches_it() {
        let mut air = Listener::default();
        air.gateway_sends(&publish(7, false));
        // The node's answer that is lost on the way up is never "got".
        air.node_sends(&Message::PubAck(ack(7)));
        air.gateway_sends(&publish(7, true));
        assert_eq!(air.tally.down_retries, 1);
        air.gateway_gets(&Message::PubAck(ack(7)));
        air.gateway_sends(&publish(8, false));
        assert_eq!((air.tally.down_retries, air.tally.up_retries), (1, 0));
    }

    #[test]
    fn publications_are_told_apart_by_topic_and_payload() {
        let mut air = Listener::default();
        air.node_sends(&Message::Register(Register {
            topic_id: TopicId::NONE,
            msg_id: MsgId(9),
            topic_name: b"readings/n",
        }));
        air.gateway_sends(&Message::RegAck(ack(9)));
        air.node_sends(&publish(10, false));
        air.node_sends(&publish(10, true));
        assert_eq!(air.tally.sent_below("readings/"), 1);
        assert_eq!(air.tally.sent_below("status/"), 0);
    }
}
