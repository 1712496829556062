//! Names for what is counted.

use gateway::session::UpstreamEvent;
use shared::wire::{Message, QoS};

pub(super) const fn message(message: &Message<'_>) -> &'static str {
    match message {
        Message::Connect(_) => "CONNECT",
        Message::WillTopic(_) => "WILLTOPIC",
        Message::WillMsg(_) => "WILLMSG",
        Message::Register(_) => "REGISTER",
        Message::RegAck(_) => "REGACK",
        Message::Publish(publish) => match publish.qos {
            QoS::MinusOne => "PUBLISH -1",
            QoS::AtMostOnce => "PUBLISH 0",
            QoS::AtLeastOnce => "PUBLISH 1",
            QoS::ExactlyOnce => "PUBLISH 2",
        },
        Message::PubAck(_) => "PUBACK",
        Message::PubComp(_) => "PUBCOMP",
        Message::PubRec(_) => "PUBREC",
        Message::PubRel(_) => "PUBREL",
        Message::Subscribe(_) => "SUBSCRIBE",
        Message::Unsubscribe(_) => "UNSUBSCRIBE",
        Message::PingReq(ping) if ping.client_id.is_empty() => "PINGREQ",
        Message::PingReq(_) => "PINGREQ(id)",
        Message::Disconnect(disconnect) => match disconnect.duration_s {
            None | Some(0) => "DISCONNECT",
            Some(_) => "DISCONNECT(d)",
        },
        Message::WillTopicUpd(_) => "WILLTOPICUPD",
        Message::WillMsgUpd(_) => "WILLMSGUPD",
        Message::SearchGw(_) => "SEARCHGW",
        _ => "a gateway's",
    }
}

pub(super) const fn event(event: &UpstreamEvent) -> &'static str {
    match event {
        UpstreamEvent::Connected => "connected",
        UpstreamEvent::Disconnected => "disconnected",
        UpstreamEvent::Published { .. } => "published",
        UpstreamEvent::Subscribed { .. } => "subscribed",
        UpstreamEvent::Delivery(delivery) => match (delivery.publication.retain, &delivery.id) {
            (true, _) => "retained",
            (false, Some(_)) => "delivery",
            (false, None) => "delivery 0",
        },
    }
}
