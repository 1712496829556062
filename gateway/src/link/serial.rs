//! A serial line as a link: a radio, a cable or a pseudo-terminal, framed by
//! [`shared::frame`].
//!
//! ```text
//!            opened                 hung up, failed
//!   absent ----------> up ------------------------------> absent
//!     ^                                                     |
//!     +------ not there yet: wait 0.1 s, 0.2 s … 5 s -------+
//! ```

mod line;
mod task;
mod trouble;
mod writer;

use std::sync::Arc;

use shared::frame::{Lead, encode, frame_len_max};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::Link;
use super::drops::Drops;
use super::pool::Pool;
use super::stats::DropReason;
use crate::config::SerialConfig;
use crate::session::Peer;
use line::Frame;
pub(super) use line::Line;
use task::Task;

/// Starts the task that opens the device, serves it, and opens it again.
pub(super) fn open(link: Link, config: &SerialConfig) -> SerialSender {
    let line = Arc::new(Line::new(link.stats.clone()));
    // The octets are bounded by `write_queue_bytes`, and with them the frames.
    let (queue, queued) = mpsc::unbounded_channel();
    SerialSender {
        name: link.name.clone(),
        max_message: link.max_message,
        queue_bytes_max: config.write_queue_bytes,
        frame: vec![0; frame_len_max(link.max_message)],
        queue,
        pool: Pool::default(),
        drops: link.drops.clone(),
        line: line.clone(),
        _task: AbortOnDropHandle::new(tokio::spawn(Task::new(link, config, line, queued).run())),
    }
}

/// The driver's end of a serial link.
#[derive(Debug)]
pub(super) struct SerialSender {
    name: Arc<str>,
    max_message: usize,
    queue_bytes_max: usize,
    frame: Vec<u8>,
    queue: mpsc::UnboundedSender<Frame>,
    pool: Pool,
    drops: Arc<Drops>,
    line: Arc<Line>,
    _task: AbortOnDropHandle<()>,
}

impl SerialSender {
    pub(super) fn send(&mut self, peer: Peer, datagram: &[u8]) {
        if let Err(reason) = self.try_send(peer, datagram) {
            self.drops.dropped(reason, &self.name, datagram.len());
        }
    }

    pub(super) fn line(&self) -> Arc<Line> {
        self.line.clone()
    }

    pub(super) fn is_up(&self) -> bool {
        self.line.time_up().is_some()
    }

    /// Returns for which of the line's times up a datagram of that length to a peer may be
    /// queued.
    pub(super) fn check(&self, peer: Peer, octets: usize) -> Result<u64, DropReason> {
        if peer != Peer::Line {
            return Err(DropReason::NoSuchPeer);
        }
        if octets > self.max_message {
            return Err(DropReason::SendOversize);
        }
        // What waited for a device to come back would be old news when it does; the
        // protocol's own retries are not.
        self.line.time_up().ok_or(DropReason::LineDown)
    }

    fn try_send(&mut self, peer: Peer, datagram: &[u8]) -> Result<(), DropReason> {
        let time_up = self.check(peer, datagram.len())?;
        let waiting = self.line.backlog();
        // A line that was quiet may have caught stray octets: they must not spoil this frame.
        let lead = if waiting == 0 {
            Lead::Delimiter
        } else {
            Lead::None
        };
        let len = encode(datagram, lead, &mut self.frame).map_err(|_| DropReason::SendFailed)?;
        if waiting + len > self.queue_bytes_max {
            return Err(DropReason::QueueFull);
        }
        let octets = self.pool.copy(&self.frame[..len]);
        let frame = Frame::new(octets, datagram.len(), time_up, self.line.clone());
        self.queue.send(frame).map_err(|_| DropReason::LineDown)
    }
}
