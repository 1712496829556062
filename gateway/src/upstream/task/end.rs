//! Why a connection is over, and what that means for the next one.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode, Packet};
use rumqttc::v5::{ConnectionError, StateError};
use thiserror::Error;

use super::super::connection::OutOfStep;
use super::super::limits::blames_publication;

/// Why a connection is over.
#[derive(Debug, Error)]
pub(super) enum End {
    #[error("closed")]
    Closed,
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    OutOfStep(#[from] OutOfStep),
    #[error("no word from the broker for {0:?}")]
    Silent(Duration),
    #[error("the broker's Receive Maximum is 0")]
    NoQuota,
    #[error("the broker says that every packet id is in use")]
    NoPacketId,
}

/// Returns whether a packet shows that the connection is good for something.
pub(super) fn is_progress(packet: &Packet) -> bool {
    matches!(
        packet,
        Packet::PubAck(_) | Packet::PubComp(_) | Packet::SubAck(_) | Packet::Publish(_)
    )
}

/// Returns the reason code where a publication was to blame.
pub(super) fn fault(end: &End) -> Option<u8> {
    disconnect_code(end)
        .map(|reason| reason as u8)
        .filter(|code| blames_publication(*code))
}

/// Returns whether another client with our id has taken the session.
pub(super) fn is_takeover(end: &End) -> bool {
    disconnect_code(end) == Some(DisconnectReasonCode::SessionTakenOver)
}

/// Returns whether the broker will refuse again until somebody changes something.
pub(super) fn needs_somebody(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::RefusedProtocolVersion
                | ConnectReturnCode::UnsupportedProtocolVersion
                | ConnectReturnCode::BadClientId
                | ConnectReturnCode::ClientIdentifierNotValid
                | ConnectReturnCode::BadUserNamePassword
                | ConnectReturnCode::NotAuthorized
                | ConnectReturnCode::Banned
                | ConnectReturnCode::BadAuthenticationMethod
        )
    )
}

fn disconnect_code(end: &End) -> Option<DisconnectReasonCode> {
    match end {
        End::Connection(ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code,
            ..
        })) => Some(*reason_code),
        _ => None,
    }
}
