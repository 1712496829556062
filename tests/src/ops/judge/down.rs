//! What the engine says to nodes.

use bytes::Bytes;
use gateway::session::{Binding, LinkId};
use shared::time::Duration;
use shared::wire::{Message, MsgId, QoS, ReturnCode};

use super::{Judge, Radio};

/// The time between two answers to the same stranger (D-28).
const STRANGER_INTERVAL: Duration = Duration::from_secs(5);

impl Judge {
    /// A node is about to be heard.
    pub(super) fn heard(&mut self, binding: Binding, message: &Message<'_>) {
        self.heard_ping(binding, message);
        let Some(node) = self.node_at(&binding) else {
            return;
        };
        let is_open = |id: MsgId| [node.exchange, node.resumed].contains(&Some(id));
        match message {
            // It may come after the id was told again, which is over with it.
            Message::PubAck(ack)
                if ack.return_code == ReturnCode::Accepted && is_open(ack.msg_id) =>
            {
                node.register = None;
                node.resumed = node.exchange.take().or(node.resumed);
            }
            Message::PubAck(ack) if node.exchange == Some(ack.msg_id) => {
                // After a refusal it may go on.
                node.resumed = node.exchange.take();
            }
            // It does not know the id of a publication at QoS 0, and is told before a repetition.
            Message::PubAck(ack)
                if ack.msg_id == MsgId::NONE && ack.return_code == ReturnCode::InvalidTopicId =>
            {
                node.resumed = node.exchange.take().or(node.resumed);
            }
            Message::PubRec(id) if is_open(*id) => node.register = None,
            Message::PubComp(id) if node.exchange == Some(*id) => node.exchange = None,
            Message::RegAck(ack) if node.register == Some(ack.msg_id) => node.register = None,
            _ => {}
        }
        self.heard_publication(message);
    }

    fn heard_ping(&mut self, binding: Binding, message: &Message<'_>) {
        let Message::PingReq(ping) = message else {
            return;
        };
        let node = if ping.client_id.is_empty() {
            self.node_at(&binding)
        } else {
            let client_id = std::str::from_utf8(ping.client_id).ok();
            client_id.and_then(|client_id| self.nodes.get_mut(client_id))
        };
        if let Some(node) = node {
            let here = node.binding == Some(binding);
            let sleeps = matches!(node.radio, Radio::Asleep | Radio::Awake);
            node.pings += u32::from(here || sleeps);
            if node.radio == Radio::Asleep {
                node.radio = Radio::Awake;
            }
        }
    }

    /// Judges a datagram to a node.
    pub(super) fn said(&mut self, to: Binding, datagram: &Bytes) -> Result<(), String> {
        let wrapped = Message::parse(datagram).map_err(|error| format!("{to}: {error}"))?;
        let message = match (wrapped, to.node_id) {
            (Message::Forward(forward), Some(node_id))
                if *node_id.as_bytes() == *forward.node_id =>
            {
                Message::parse(forward.inner).map_err(|error| format!("{to}: {error}"))?
            }
            (bare, None) => bare,
            (other, _) => return Err(format!("{to} was sent {other:?}")),
        };
        if !self.spoken.contains(&to) {
            return Err(format!("{to}, where nobody spoke, was sent {message:?}"));
        }
        self.cause.datagrams += 1;
        self.check_stranger(to, &message)?;
        let broken = |why: &str| Err(format!("{to} was sent {message:?}: {why}"));
        match message {
            Message::Register(_) | Message::Publish(_) => {
                if datagram.len() > self.link(to.link).mtu {
                    return broken("it does not fit the link");
                }
                self.check_downlink(to, &message)
            }
            Message::PubRel(id) => self.check_release(to, id),
            Message::PubAck(ack) if ack.return_code == ReturnCode::Accepted => {
                self.check_acknowledged(to, ack.msg_id, QoS::AtLeastOnce)
            }
            Message::PubRec(id) => self.check_acknowledged(to, id, QoS::ExactlyOnce),
            Message::PingResp => self.check_ping(to),
            Message::SubAck(_) | Message::WillTopicReq | Message::WillMsgReq => Ok(()),
            Message::PubAck(_) | Message::Disconnect(_) => Ok(()),
            Message::ConnAck(_)
            | Message::RegAck(_)
            | Message::PubComp(_)
            | Message::UnsubAck(_)
            | Message::WillTopicResp(_)
            | Message::WillMsgResp(_)
            | Message::GwInfo(_) => {
                // A will may no longer be welcome in the middle of its handshake.
                let refusal = matches!(message, Message::ConnAck(ack)
                    if ack.return_code != ReturnCode::Accepted);
                if refusal && self.cause.is_configuration {
                    return Ok(());
                }
                let asked = self.asked(to).is_some_and(|it| answers(&message, &it));
                if asked {
                    Ok(())
                } else {
                    broken("nobody asked")
                }
            }
            _ => broken("no gateway says that"),
        }
    }

    /// Judges a datagram to everyone on a link.
    pub(super) fn broadcast(&mut self, link: LinkId, datagram: &Bytes) -> Result<(), String> {
        let configured = usize::from(link.0) < self.settings.links.len();
        if !configured && !self.spoken.iter().any(|binding| binding.link == link) {
            return Err(format!("a broadcast on {link:?}, where nobody is"));
        }
        match Message::parse(datagram) {
            Ok(Message::Advertise(_) | Message::GwInfo(_) | Message::SearchGw(_)) => Ok(()),
            other => Err(format!("{link:?} was sent {other:?}")),
        }
    }

    /// PUBLISH and REGISTER go to nodes that listen, one exchange at a time.
    fn check_downlink(&mut self, to: Binding, message: &Message<'_>) -> Result<(), String> {
        let Some(node) = self.node_at(&to) else {
            return Err(format!("{message:?} went to {to}, where no node is"));
        };
        if !matches!(node.radio, Radio::Active | Radio::Awake) {
            return Err(format!(
                "{message:?} went to a node that is {:?}",
                node.radio
            ));
        }
        let open = |id: Option<MsgId>, own: MsgId| id.is_some_and(|id| id != own);
        let second = match message {
            Message::Publish(publish) if publish.qos == QoS::AtMostOnce => false,
            Message::Publish(publish)
                if publish.qos == QoS::MinusOne || publish.msg_id == MsgId::NONE =>
            {
                return Err(format!("{to} was sent {message:?}"));
            }
            Message::Publish(publish) => {
                let second = open(node.exchange, publish.msg_id) || node.register.is_some();
                node.exchange = Some(publish.msg_id);
                second
            }
            Message::Register(register) => {
                let second = open(node.register, register.msg_id) || node.exchange.is_some();
                node.register = Some(register.msg_id);
                second
            }
            _ => false,
        };
        if second {
            return Err(format!(
                "{to} was sent {message:?} in the middle of another exchange"
            ));
        }
        Ok(())
    }

    fn check_release(&mut self, to: Binding, id: MsgId) -> Result<(), String> {
        let answered = self.asked(to).as_deref().is_some_and(
            |it| matches!(Message::parse(it), Ok(Message::PubRec(asked)) if asked == id),
        );
        let node = self.node_at(&to);
        let listens = |radio| matches!(radio, Radio::Active | Radio::Awake);
        let open = node.is_some_and(|node| {
            listens(node.radio) && [node.exchange, node.resumed].contains(&Some(id))
        });
        if answered || open {
            Ok(())
        } else {
            Err(format!("{to} was sent PUBREL {id:?} out of nothing"))
        }
    }

    fn check_ping(&mut self, to: Binding) -> Result<(), String> {
        let Some(node) = self.node_at(&to).filter(|node| node.pings > 0) else {
            return Err(format!("{to} was sent PINGRESP without a ping"));
        };
        node.pings -= 1;
        if node.radio == Radio::Awake {
            (node.radio, node.pings) = (Radio::Asleep, 0);
        }
        Ok(())
    }

    /// Strangers are answered once, and not often (D-28).
    fn check_stranger(&mut self, to: Binding, message: &Message<'_>) -> Result<(), String> {
        if !self.cause.is_datagram || self.cause.revives || !self.is_stray() {
            return Ok(());
        }
        let asked = self.cause.heard.as_ref().map(|(binding, _)| *binding);
        let told = match message {
            Message::Disconnect(_) => &mut self.told_off,
            Message::GwInfo(_) => &mut self.told_where,
            _ => return Err(format!("a stray datagram made {message:?} go to {to}")),
        };
        let last = told.insert(to, self.now);
        let too_often = last.is_some_and(|last| self.now.since(last) < STRANGER_INTERVAL);
        if asked != Some(to) || self.cause.datagrams > 1 || too_often {
            return Err(format!(
                "{message:?} went to the stranger at {to}, last {last:?}"
            ));
        }
        Ok(())
    }

    /// Returns whether the input is a datagram that may have no effect: of nobody who is bound
    /// there, and no way to become so.
    pub(super) fn is_stray(&self) -> bool {
        let Some((_, bytes)) = &self.cause.heard else {
            return true;
        };
        match Message::parse(bytes) {
            Ok(Message::Connect(_) | Message::WillTopic(_) | Message::WillMsg(_)) => false,
            Ok(Message::Publish(publish)) if publish.qos == QoS::MinusOne => false,
            Ok(Message::PingReq(ping)) if !ping.client_id.is_empty() => {
                let client_id = std::str::from_utf8(ping.client_id).ok();
                let node = client_id.and_then(|client_id| self.nodes.get(client_id));
                node.is_none_or(|node| node.radio == Radio::Gone)
            }
            _ => self.cause.bound.is_none(),
        }
    }

    /// Returns what was heard where an answer goes now.
    fn asked(&self, to: Binding) -> Option<Bytes> {
        let (binding, bytes) = self.cause.heard.as_ref()?;
        (*binding == to).then(|| bytes.clone())
    }
}

/// Returns whether a message is the kind of answer that another one asks for.
fn answers(answer: &Message<'_>, asked: &[u8]) -> bool {
    let Ok(asked) = Message::parse(asked) else {
        return false;
    };
    match (answer, asked) {
        (Message::RegAck(ack), Message::Register(asked)) => ack.msg_id == asked.msg_id,
        (Message::PubComp(id), Message::PubRel(asked)) => *id == asked,
        (Message::UnsubAck(id), Message::Unsubscribe(asked)) => *id == asked.msg_id,
        (
            Message::ConnAck(_),
            Message::Connect(_) | Message::WillTopic(_) | Message::WillMsg(_),
        )
        | (Message::WillTopicResp(_), Message::WillTopicUpd(_))
        | (Message::WillMsgResp(_), Message::WillMsgUpd(_))
        | (Message::GwInfo(_), Message::SearchGw(_)) => true,
        _ => false,
    }
}
