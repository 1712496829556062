//! The sending side of a serial link.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::super::drops::Drops;
use super::super::stats::DropReason;
use super::line::Frame;

/// Takes frames out of the queue, and sees to it that each is counted once: as sent or as
/// dropped.
pub(super) struct Writer {
    name: Arc<str>,
    drops: Arc<Drops>,
    queued: mpsc::UnboundedReceiver<Frame>,
    /// The frame that is being written. It outlives a call of [`Self::write`] that is cancelled.
    in_hand: Option<Frame>,
}

impl Writer {
    pub(super) const fn new(
        name: Arc<str>,
        drops: Arc<Drops>,
        queued: mpsc::UnboundedReceiver<Frame>,
    ) -> Self {
        Self {
            name,
            drops,
            queued,
            in_hand: None,
        }
    }

    /// Writes frames as fast as the line takes them; returns why it takes no more.
    ///
    /// # Cancellation Safety
    ///
    /// The frame of which a part may have been written is kept for [`Self::drop_queued`].
    pub(super) async fn write(&mut self, mut port: impl AsyncWrite + Unpin) -> io::Error {
        while let Some(frame) = self.queued.recv().await {
            // Queued while the line went down, after all others had been dropped.
            if !frame.is_of_now() {
                self.drop_frame(&frame);
                continue;
            }
            let frame = self.in_hand.insert(frame);
            if let Err(error) = port.write_all(frame.octets()).await {
                return error;
            }
            if let Some(frame) = self.in_hand.take() {
                frame.written();
            }
        }
        // The handle is gone; the task is being ended.
        std::future::pending().await
    }

    /// Drops what was queued for a line that is gone.
    pub(super) fn drop_queued(&mut self) {
        if let Some(frame) = self.in_hand.take() {
            self.drop_frame(&frame);
        }
        while let Ok(frame) = self.queued.try_recv() {
            self.drop_frame(&frame);
        }
    }

    fn drop_frame(&self, frame: &Frame) {
        self.drops
            .dropped(DropReason::LineDown, &self.name, frame.datagram_len());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::io::AsyncReadExt;
    use tokio::time::timeout;

    use super::super::super::stats::LinkStats;
    use super::super::line::Line;
    use super::*;

    struct Bench {
        stats: Arc<LinkStats>,
        line: Arc<Line>,
        queue: mpsc::UnboundedSender<Frame>,
        writer: Writer,
    }

    impl Bench {
        fn new() -> Self {
            let stats = Arc::new(LinkStats::default());
            let (queue, queued) = mpsc::unbounded_channel();
            Self {
                line: Arc::new(Line::new(stats.clone())),
                writer: Writer::new("radio".into(), Arc::new(Drops::new(stats.clone())), queued),
                queue,
                stats,
            }
        }

        fn queue(&self, octets: &'static [u8], time_up: u64) {
            let frame = Frame::new(Bytes::from_static(octets), 2, time_up, self.line.clone());
            self.queue.send(frame).unwrap();
        }

        fn sent_and_dropped(&self) -> (u64, u64) {
            let counters = self.stats.snapshot();
            let dropped = counters.dropped(DropReason::LineDown);
            (counters.datagrams_out, dropped)
        }
    }

    const MOMENT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn what_was_queued_for_an_earlier_time_up_is_not_written() {
        let mut bench = Bench::new();
        bench.line.turn();
        let before = bench.line.time_up().unwrap();
        bench.line.turn();
        bench.writer.drop_queued();
        // The driver saw the line up and comes to queue only now.
        bench.queue(b"old", before);
        bench.line.turn();
        bench.queue(b"new", bench.line.time_up().unwrap());
        let (mut far, near) = tokio::io::duplex(64);
        assert!(timeout(MOMENT, bench.writer.write(near)).await.is_err());
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"new");
        assert_eq!(bench.sent_and_dropped(), (1, 1));
        assert_eq!(bench.line.backlog(), 0);
    }

    #[tokio::test]
    async fn the_frame_in_hand_is_dropped_with_the_others() {
        let mut bench = Bench::new();
        bench.line.turn();
        for octets in [b"one", b"two", b"six"] {
            bench.queue(octets, bench.line.time_up().unwrap());
        }
        // Room for the first frame and a part of the second.
        let (_far, near) = tokio::io::duplex(4);
        assert!(timeout(MOMENT, bench.writer.write(near)).await.is_err());
        assert_eq!(bench.sent_and_dropped(), (1, 0));
        assert_eq!(bench.line.backlog(), 6);
        bench.line.turn();
        bench.writer.drop_queued();
        assert_eq!(bench.sent_and_dropped(), (1, 2));
        timeout(MOMENT, bench.line.flush()).await.unwrap();
    }

    #[tokio::test]
    async fn a_frame_that_cannot_be_written_is_dropped_and_not_sent() {
        let mut bench = Bench::new();
        bench.line.turn();
        bench.queue(b"one", bench.line.time_up().unwrap());
        let (far, near) = tokio::io::duplex(4);
        drop(far);
        timeout(MOMENT, bench.writer.write(near)).await.unwrap();
        bench.writer.drop_queued();
        assert_eq!(bench.sent_and_dropped(), (0, 1));
        assert_eq!(bench.line.backlog(), 0);
    }

    #[tokio::test]
    async fn a_frame_that_nobody_takes_does_not_wait() {
        let Bench {
            line,
            queue,
            writer,
            ..
        } = Bench::new();
        drop(writer);
        let frame = Frame::new(Bytes::from_static(b"one"), 2, 1, line.clone());
        queue.send(frame).unwrap_err();
        timeout(MOMENT, line.flush()).await.unwrap();
    }
}
