//! What the log says of the connection.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::super::backoff::LogGate;
use super::Task;
use super::end::End;
use crate::session::{PublicationId, Refusal};

/// What has been said of the connection lately.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Log {
    up: LogGate,
    down: LogGate,
    refused: LogGate,
    refused_subscription: LogGate,
    single: LogGate,
}

impl Task {
    pub(super) fn report_up(&mut self, session_present: bool) {
        let text = if session_present { "kept" } else { "new" };
        if let Some(more) = self.log.up.pass(Instant::now(), text) {
            tracing::info!(
                broker = self.broker,
                session = text,
                queue = self.counters.queue_len.load(Relaxed),
                more,
                "upstream connected"
            );
        }
    }

    /// Says that a broker is served as one that sends a single copy to overlapping subscriptions.
    pub(super) fn report_single(&mut self, reason: &str) {
        if let Some(more) = self.log.single.pass(Instant::now(), reason) {
            tracing::warn!(
                broker = self.broker,
                reason,
                more,
                "overlapping subscriptions: the broker is taken to send a single copy"
            );
        }
    }

    pub(super) fn report_down(&mut self, end: &End, delay: Duration) {
        let reason = end.to_string();
        if let Some(more) = self.log.down.pass(Instant::now(), &reason) {
            tracing::warn!(
                broker = self.broker,
                reason,
                retry_ms = delay.as_millis(),
                queue = self.counters.queue_len.load(Relaxed),
                more,
                "upstream not connected"
            );
        }
    }

    pub(super) fn report_refused(&mut self, id: PublicationId, refusal: Refusal) {
        let text = format!("{refusal:?}");
        if let Some(more) = self.log.refused.pass(Instant::now(), &text) {
            tracing::warn!(
                broker = self.broker,
                ?refusal,
                publication = id.0,
                more,
                "the upstream has refused a publication"
            );
        }
    }

    pub(super) fn report_refused_subscription(&mut self, filter: &str, code: u8) {
        let text = format!("{code} {filter}");
        if let Some(more) = self.log.refused_subscription.pass(Instant::now(), &text) {
            tracing::warn!(
                broker = self.broker,
                filter,
                code,
                more,
                "the upstream has refused a subscription"
            );
        }
    }
}
