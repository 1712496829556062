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

/// Returns whether the broker has ended the connection for a reason that a new one would soon
/// meet again, A.21. Above all, who was thrown out by another client with the same id does not
/// throw it out in return.
pub(super) fn asks_for_time(end: &End) -> bool {
    disconnect_code(end).is_some_and(|reason| {
        // What a publication is to blame for goes away with it.
        !blames_publication(reason as u8)
            && !matches!(
                reason,
                DisconnectReasonCode::NormalDisconnection
                    | DisconnectReasonCode::ServerShuttingDown
                    | DisconnectReasonCode::ServerBusy
                    | DisconnectReasonCode::KeepAliveTimeout
                    | DisconnectReasonCode::UseAnotherServer
                    | DisconnectReasonCode::ServerMoved
                    | DisconnectReasonCode::MaximumConnectTime
            )
    })
}

/// Returns whether the broker will refuse again until somebody changes something: for any reason
/// but those that pass by themselves, A.21.
pub(super) fn needs_somebody(error: &ConnectionError) -> bool {
    let ConnectionError::ConnectionRefused(code) = error else {
        return false;
    };
    !matches!(
        code,
        ConnectReturnCode::ServiceUnavailable
            | ConnectReturnCode::ServerUnavailable
            | ConnectReturnCode::ServerBusy
            | ConnectReturnCode::QuotaExceeded
            | ConnectReturnCode::ConnectionRateExceeded
            | ConnectReturnCode::UseAnotherServer
            | ConnectReturnCode::ServerMoved
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
