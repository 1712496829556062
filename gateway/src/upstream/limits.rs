//! What a broker allows, as its CONNACK says, and the codes and levels in its language.

use rumqttc::v5::mqttbytes::QoS as MqttQos;
use rumqttc::v5::mqttbytes::v5::{ConnAck, PubAckReason, PubRecReason, SubscribeReasonCode};
use shared::wire::QoS;

use crate::session::Publication;

/// What the broker of one connection allows [MQTT 5 §3.2.2.3].
#[derive(Clone, Copy, Debug)]
pub(super) struct BrokerLimits {
    /// Open exchanges.
    pub(super) window: usize,
    /// The largest packet id to be used.
    pub(super) ids_max: u16,
    qos_max: QoS,
    retain: bool,
    packet_size_max: usize,
    /// Whether subscriptions may have identifiers.
    pub(super) subscription_ids: bool,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            window: 1,
            ids_max: 1,
            qos_max: QoS::ExactlyOnce,
            retain: true,
            packet_size_max: usize::MAX,
            subscription_ids: true,
        }
    }
}

impl BrokerLimits {
    /// Reads a CONNACK, for a client that wants `inflight_max` open exchanges.
    pub(super) fn new(connack: &ConnAck, inflight_max: u16) -> Self {
        let properties = connack.properties.as_ref();
        let receive_max = properties.and_then(|p| p.receive_max).unwrap_or(u16::MAX);
        // The same sum as rumqttc's, which has one place more than we use.
        let ids_max = inflight_max.saturating_add(1).min(receive_max);
        Self {
            window: usize::from(ids_max.saturating_sub(1).max(1)),
            ids_max,
            qos_max: match properties.and_then(|p| p.max_qos) {
                Some(0) => QoS::AtMostOnce,
                Some(1) => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            },
            retain: properties.and_then(|p| p.retain_available) != Some(0),
            packet_size_max: properties
                .and_then(|p| p.max_packet_size)
                .map_or(usize::MAX, |size| size as usize),
            subscription_ids: properties.and_then(|p| p.subscription_identifiers_available)
                != Some(0),
        }
    }

    /// Returns the level a publication is sent with: QoS 2 falls to 1 where the broker has no
    /// QoS 2, since arriving twice is better than not at all.
    pub(super) fn level(&self, publication: &Publication) -> QoS {
        publication.qos.min(self.qos_max)
    }

    /// Returns the reason code by which this broker would have to refuse a publication. Sent
    /// nevertheless, it would end the connection, and the next one again.
    pub(super) fn objection(&self, publication: &Publication) -> Option<u8> {
        if packet_size(publication) > self.packet_size_max {
            Some(PACKET_TOO_LARGE)
        } else if publication.retain && !self.retain {
            Some(RETAIN_NOT_SUPPORTED)
        } else if publication.qos > QoS::AtMostOnce && self.qos_max == QoS::AtMostOnce {
            Some(QOS_NOT_SUPPORTED)
        } else {
            None
        }
    }
}

/// Returns whether a topic name may be published to [MQTT 5 §4.7].
pub(super) fn is_topic_name(topic: &str) -> bool {
    is_string(topic) && !topic.contains(['+', '#'])
}

/// Returns whether a topic filter may be subscribed to [MQTT 5 §4.7].
pub(super) fn is_topic_filter(filter: &str) -> bool {
    is_string(filter) && rumqttc::v5::mqttbytes::valid_filter(filter)
}

/// Returns whether a reason for ending a connection can only be about a PUBLISH packet.
pub(super) fn blames_publication(code: u8) -> bool {
    matches!(
        code,
        TOPIC_NAME_INVALID
            | PACKET_TOO_LARGE
            | PAYLOAD_FORMAT_INVALID
            | RETAIN_NOT_SUPPORTED
            | QOS_NOT_SUPPORTED
    )
}

/// Returns whether a broker that refuses a subscription by this code may grant it later,
/// without anybody changing anything. The codes that name no reason may mean anything.
pub(super) fn may_pass(code: u8) -> bool {
    matches!(
        code,
        UNSPECIFIED | IMPLEMENTATION_SPECIFIC | SERVER_BUSY | PACKET_ID_IN_USE | QUOTA_EXCEEDED
    )
}

/// Names a level in rumqttc's language; QoS −1 ends at the gateway and goes on as QoS 0.
pub(super) fn to_mqtt(qos: QoS) -> MqttQos {
    match qos {
        QoS::MinusOne | QoS::AtMostOnce => MqttQos::AtMostOnce,
        QoS::AtLeastOnce => MqttQos::AtLeastOnce,
        QoS::ExactlyOnce => MqttQos::ExactlyOnce,
    }
}

/// Names a level in ours.
pub(super) fn from_mqtt(qos: MqttQos) -> QoS {
    match qos {
        MqttQos::AtMostOnce => QoS::AtMostOnce,
        MqttQos::AtLeastOnce => QoS::AtLeastOnce,
        MqttQos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// Returns the code of a PUBACK [MQTT 5 §3.4.2.1].
pub(super) fn puback_code(reason: PubAckReason) -> u8 {
    match reason {
        PubAckReason::Success => 0x00,
        PubAckReason::NoMatchingSubscribers => 0x10,
        PubAckReason::UnspecifiedError => UNSPECIFIED,
        PubAckReason::ImplementationSpecificError => IMPLEMENTATION_SPECIFIC,
        PubAckReason::NotAuthorized => NOT_AUTHORIZED,
        PubAckReason::TopicNameInvalid => TOPIC_NAME_INVALID,
        PubAckReason::PacketIdentifierInUse => PACKET_ID_IN_USE,
        PubAckReason::QuotaExceeded => QUOTA_EXCEEDED,
        PubAckReason::PayloadFormatInvalid => PAYLOAD_FORMAT_INVALID,
    }
}

/// Returns the code of a PUBREC [MQTT 5 §3.5.2.1].
pub(super) fn pubrec_code(reason: PubRecReason) -> u8 {
    puback_code(match reason {
        PubRecReason::Success => PubAckReason::Success,
        PubRecReason::NoMatchingSubscribers => PubAckReason::NoMatchingSubscribers,
        PubRecReason::UnspecifiedError => PubAckReason::UnspecifiedError,
        PubRecReason::ImplementationSpecificError => PubAckReason::ImplementationSpecificError,
        PubRecReason::NotAuthorized => PubAckReason::NotAuthorized,
        PubRecReason::TopicNameInvalid => PubAckReason::TopicNameInvalid,
        PubRecReason::PacketIdentifierInUse => PubAckReason::PacketIdentifierInUse,
        PubRecReason::QuotaExceeded => PubAckReason::QuotaExceeded,
        PubRecReason::PayloadFormatInvalid => PubAckReason::PayloadFormatInvalid,
    })
}

/// Returns the granted level or the code of a SUBACK [MQTT 5 §3.9.3].
pub(super) fn granted(reason: SubscribeReasonCode) -> Result<QoS, u8> {
    match reason {
        SubscribeReasonCode::Success(qos) => Ok(from_mqtt(qos)),
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => Err(UNSPECIFIED),
        SubscribeReasonCode::ImplementationSpecific => Err(IMPLEMENTATION_SPECIFIC),
        SubscribeReasonCode::NotAuthorized => Err(NOT_AUTHORIZED),
        SubscribeReasonCode::TopicFilterInvalid => Err(TOPIC_FILTER_INVALID),
        SubscribeReasonCode::PkidInUse => Err(PACKET_ID_IN_USE),
        SubscribeReasonCode::QuotaExceeded => Err(QUOTA_EXCEEDED),
        SubscribeReasonCode::SharedSubscriptionsNotSupported => Err(0x9E),
        SubscribeReasonCode::SubscriptionIdNotSupported => Err(SUBSCRIPTION_ID_NOT_SUPPORTED),
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => Err(0xA2),
    }
}

fn is_string(text: &str) -> bool {
    !text.is_empty() && text.len() <= usize::from(u16::MAX) && !text.contains('\0')
}

/// The size of a PUBLISH with a packet id and without properties, at most.
fn packet_size(publication: &Publication) -> usize {
    const FIXED_HEADER: usize = 5;
    const TOPIC_LENGTH: usize = 2;
    const PACKET_ID: usize = 2;
    const PROPERTY_LENGTH: usize = 1;
    FIXED_HEADER
        + TOPIC_LENGTH
        + PACKET_ID
        + PROPERTY_LENGTH
        + publication.topic.len()
        + publication.payload.len()
}

/// Unspecified error [MQTT 5 §2.4].
pub(super) const UNSPECIFIED: u8 = 0x80;
/// The first reason code that is an error [MQTT 5 §2.4].
pub(super) const FIRST_ERROR: u8 = UNSPECIFIED;
const IMPLEMENTATION_SPECIFIC: u8 = 0x83;
const NOT_AUTHORIZED: u8 = 0x87;
/// Server busy [MQTT 5 §2.4].
pub(super) const SERVER_BUSY: u8 = 0x89;
/// Topic Filter invalid [MQTT 5 §2.4].
pub(super) const TOPIC_FILTER_INVALID: u8 = 0x8F;
/// Topic Name invalid [MQTT 5 §2.4].
pub(super) const TOPIC_NAME_INVALID: u8 = 0x90;
/// Packet Identifier in use [MQTT 5 §2.4].
pub(super) const PACKET_ID_IN_USE: u8 = 0x91;
const PACKET_TOO_LARGE: u8 = 0x95;
/// Quota exceeded [MQTT 5 §2.4].
pub(super) const QUOTA_EXCEEDED: u8 = 0x97;
const PAYLOAD_FORMAT_INVALID: u8 = 0x99;
const RETAIN_NOT_SUPPORTED: u8 = 0x9A;
const QOS_NOT_SUPPORTED: u8 = 0x9B;
/// Subscription Identifiers not supported [MQTT 5 §2.4].
pub(super) const SUBSCRIPTION_ID_NOT_SUPPORTED: u8 = 0xA1;
