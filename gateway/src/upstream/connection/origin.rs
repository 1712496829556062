//! What every connection starts from.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{MqttOptions, MqttState};
use shared::wire::QoS;

use super::empty_publish;

/// What every connection starts from.
#[derive(Clone)]
pub(in crate::upstream) struct Origin {
    pub(super) options: MqttOptions,
    pub(super) state: MqttState,
    pub(super) inflight_max: u16,
    pub(super) connect_timeout: Duration,
}

impl Origin {
    /// Prepares for connections with `options`, made within `connect_timeout`, and at most
    /// `inflight_max` open exchanges.
    pub(in crate::upstream) fn new(
        mut options: MqttOptions,
        connect_timeout: Duration,
        inflight_max: u16,
    ) -> Self {
        let ids_max = inflight_max.saturating_add(1);
        // rumqttc's clock knows whole seconds only: ours, in `Connection::connect`, is first.
        options.set_connection_timeout(connect_timeout.as_secs().saturating_add(2));
        options.set_outgoing_inflight_upper_limit(ids_max);
        let mut state = MqttState::new(ids_max, true);
        for packet_id in 1..=u16::MAX {
            let mut publish = empty_publish(QoS::ExactlyOnce);
            publish.pkid = packet_id;
            // It only notes the packet id: nothing in it can fail.
            let _ = state.handle_incoming_packet(Packet::Publish(publish));
            state.events.clear();
        }
        Self {
            options,
            state,
            inflight_max,
            connect_timeout,
        }
    }

    /// From now on connections go on with the broker's session.
    pub(in crate::upstream) fn keep_session(&mut self) {
        self.options.set_clean_start(false);
    }
}
