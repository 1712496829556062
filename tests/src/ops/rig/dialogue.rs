//! What a node says that has heard the engine.

use shared::wire::{
    Acknowledgement, Message, MsgId, PingReq, Publish, QoS, ReturnCode, Subscribe, TopicFilter,
    TopicId, WillTarget,
};

use super::super::messages::{connect, emit};
use super::super::operation::Reply;
use super::super::places::{self, CLIENT_IDS, Place};
use super::Rig;

impl Rig {
    /// Returns the answer to what the engine said to a place, `back` messages ago.
    pub(super) fn answer(&self, place: Place, back: u8, how: Reply) -> Option<Vec<u8>> {
        let told = self.told.get(&places::binding(place))?;
        let datagram = told.iter().rev().nth(usize::from(back))?;
        let bare = match Message::parse(datagram).ok()? {
            Message::Forward(forward) => forward.inner,
            _ => datagram,
        };
        let message = Message::parse(bare).ok()?;
        let code = match how {
            Reply::Code(code) => code,
            _ => ReturnCode::Accepted,
        };
        let msg_id = |id: MsgId| match how {
            Reply::OtherId => id.next(),
            _ => id,
        };
        let topic_id = |id: TopicId| match how {
            Reply::OtherTopic => TopicId(id.0 ^ 1),
            _ => id,
        };
        let other_kind = how == Reply::OtherKind;
        let ack = |topic: TopicId, id: MsgId| Acknowledgement {
            topic_id: topic_id(topic),
            msg_id: msg_id(id),
            return_code: code,
        };
        Some(emit(&match message {
            Message::Register(it) if other_kind => Message::PubAck(ack(it.topic_id, it.msg_id)),
            Message::Register(it) => Message::RegAck(ack(it.topic_id, it.msg_id)),
            Message::Publish(it) => {
                let refused = code != ReturnCode::Accepted;
                match (it.qos, other_kind || refused) {
                    (QoS::AtLeastOnce, true) if other_kind => Message::PubRec(msg_id(it.msg_id)),
                    (QoS::ExactlyOnce, false) => Message::PubRec(msg_id(it.msg_id)),
                    _ => Message::PubAck(ack(it.topic.topic_id(), it.msg_id)),
                }
            }
            Message::PubRel(id) if other_kind => Message::PubRec(msg_id(id)),
            Message::PubRel(id) => Message::PubComp(msg_id(id)),
            Message::PubRec(id) => Message::PubRel(msg_id(id)),
            Message::WillTopicReq => {
                let topic = if other_kind { b"t/+" } else { b"t/1" };
                let (qos, retain) = (QoS::AtLeastOnce, false);
                Message::WillTopic(Some(WillTarget { qos, retain, topic }))
            }
            Message::WillMsgReq => Message::WillMsg(b"gone"),
            // Told to connect anew, or answered: some do.
            Message::Disconnect(_) if how == Reply::Right => {
                let client_id = CLIENT_IDS[usize::from(place) % 4];
                return Some(connect(client_id, false, false, 60));
            }
            Message::ConnAck(_) | Message::SubAck(_) => Message::Subscribe(Subscribe {
                dup: false,
                qos: QoS::ExactlyOnce,
                msg_id: MsgId(0x5B),
                topic: TopicFilter::Name(b"t/+"),
            }),
            _ => Message::PingReq(PingReq { client_id: b"" }),
        }))
    }

    /// Returns what was said at a place once more.
    pub(super) fn repetition(&self, place: Place, back: u8, dup: bool) -> Option<Vec<u8>> {
        let said = self.said.get(&place)?;
        let bytes = said.iter().rev().nth(usize::from(back))?;
        let again = match Message::parse(bytes) {
            Ok(Message::Publish(publish)) => Message::Publish(Publish { dup, ..publish }),
            Ok(Message::Subscribe(subscribe)) => Message::Subscribe(Subscribe { dup, ..subscribe }),
            _ => return Some(bytes.clone()),
        };
        Some(emit(&again))
    }
}
