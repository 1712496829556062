//! The task of a serial link: it opens the device, serves it, and opens it again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shared::frame::{FrameReader, FrameStats};
use tokio::io::{AsyncReadExt, ReadHalf};
use tokio::sync::mpsc::{self, error::SendError};
use tokio::time::MissedTickBehavior;
use tokio_serial::{SerialPortBuilderExt, SerialStream};

use super::super::drops::FLUSH_INTERVAL;
use super::super::pool::Pool;
use super::super::stats::{DropReason, add};
use super::super::{Batch, Inbound, Link};
use super::line::{Frame, Line};
use super::trouble::Trouble;
use super::writer::Writer;
use crate::config::{MAX_MESSAGE_CEILING, SerialConfig};
use crate::session::{LinkEvent, Peer};

/// The task of the link.
pub(super) struct Task {
    path: PathBuf,
    baud: u32,
    link: Link,
    line: Arc<Line>,
    writer: Writer,
    frames: FrameReader<MAX_MESSAGE_CEILING>,
    pool: Pool,
    /// The pause before the device is opened again.
    pause: Duration,
    /// What was last said of a device that cannot be opened.
    told: String,
    /// What the driver was last told of the link.
    event: Option<LinkEvent>,
    /// Datagrams read and not yet handed over.
    unread: Batch,
}

/// Why a line is not served any more.
enum End {
    /// The device or its other end is gone.
    HungUp(io::Error),
    /// The driver has no ear any more.
    DriverGone,
}

impl Task {
    pub(super) fn new(
        link: Link,
        config: &SerialConfig,
        line: Arc<Line>,
        queued: mpsc::UnboundedReceiver<Frame>,
    ) -> Self {
        Self {
            path: config.path.clone(),
            baud: config.baud,
            writer: Writer::new(link.name.clone(), link.drops.clone(), queued),
            link,
            line,
            frames: FrameReader::new(),
            pool: Pool::default(),
            pause: REOPEN_MIN,
            told: String::new(),
            event: None,
            unread: Batch::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let inbound = self.link.inbound.clone();
        loop {
            match self.open() {
                Ok(port) => {
                    if self.tell(LinkEvent::Up).await.is_err() {
                        return;
                    }
                    match self.serve(port).await {
                        End::HungUp(error) => self.tell_lost(&error),
                        End::DriverGone => return,
                    }
                }
                Err(error) => self.tell_absent(&error),
            }
            self.drop_queued();
            if self.tell(LinkEvent::Down).await.is_err() {
                return;
            }
            self.link.drops.flush();
            tokio::select! {
                () = tokio::time::sleep(self.pause) => {}
                () = inbound.closed() => return,
            }
            self.pause = (self.pause * 2).min(REOPEN_MAX);
        }
    }

    fn open(&mut self) -> tokio_serial::Result<SerialStream> {
        let port = tokio_serial::new(self.path.to_string_lossy(), self.baud).open_native_async()?;
        let path = self.path.display();
        tracing::info!(link = %self.link.name, %path, baud = self.baud, "line open");
        add(&self.link.stats.opened, 1);
        self.told.clear();
        self.frames.reset();
        Ok(port)
    }

    /// Carries datagrams both ways until the line or the driver is gone.
    async fn serve(&mut self, port: SerialStream) -> End {
        let (mut reader, port) = tokio::io::split(port);
        let octets_before = self.frames.stats().octets;
        let inbound = self.link.inbound.clone();
        let mut ear = Ear {
            link: &self.link,
            frames: &mut self.frames,
            pool: &mut self.pool,
            unread: &mut self.unread,
        };
        self.line.turn();
        let end = tokio::select! {
            // What was read before the line broke is not lost to an error of the writer.
            biased;
            end = ear.listen(&mut reader) => end,
            error = self.writer.write(port) => End::HungUp(error),
            () = inbound.closed() => End::DriverGone,
        };
        self.line.turn();
        self.drop_queued();
        // A device that opens and gives nothing is no better than an absent one.
        if self.frames.stats().octets > octets_before {
            self.pause = REOPEN_MIN;
        }
        end
    }

    /// Drops what was to be sent on a line that is gone.
    fn drop_queued(&mut self) {
        if let Some(gate) = &self.link.gate {
            gate.drop_queued();
        }
        self.writer.drop_queued();
    }

    /// Tells the driver that the line has come or gone, behind what was read until then.
    async fn tell(&mut self, event: LinkEvent) -> Result<(), SendError<Inbound>> {
        if !self.unread.is_empty() {
            let batch = std::mem::take(&mut self.unread);
            self.link.inbound.send(Inbound::Batch(batch)).await?;
        }
        if self.event == Some(event) {
            return Ok(());
        }
        self.event = Some(event);
        let event = Inbound::Event(self.link.id, event);
        self.link.inbound.send(event).await
    }

    fn tell_lost(&self, error: &io::Error) {
        let path = self.path.display();
        tracing::warn!(link = %self.link.name, %path, %error, "line lost; it will be opened again");
    }

    /// Says why the device cannot be opened, once for each reason in a row.
    fn tell_absent(&mut self, error: &tokio_serial::Error) {
        let trouble = Trouble::new(&self.path, error).to_string();
        if trouble != self.told {
            tracing::warn!(link = %self.link.name, "{trouble}; it will be tried again");
            self.told = trouble;
        }
    }
}

/// The receiving side while the line is open.
struct Ear<'a> {
    link: &'a Link,
    frames: &'a mut FrameReader<MAX_MESSAGE_CEILING>,
    pool: &'a mut Pool,
    /// Outlives a call of [`Self::listen`] that is cancelled.
    unread: &'a mut Batch,
}

impl Ear<'_> {
    async fn listen(&mut self, port: &mut ReadHalf<SerialStream>) -> End {
        let mut bytes = vec![0; READ_LEN];
        let mut tick = tokio::time::interval(FLUSH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let read = tokio::select! {
                read = port.read(&mut bytes) => read,
                _ = tick.tick() => {
                    self.link.drops.flush();
                    continue;
                }
            };
            let len = match read {
                // The other end has hung up: neither an error nor the end of anything else.
                Ok(0) => return End::HungUp(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return End::HungUp(error),
            };
            *self.unread = self.batch(&bytes[..len]);
            if self.unread.is_empty() {
                continue;
            }
            self.link.heard();
            let Ok(place) = self.link.inbound.reserve().await else {
                return End::DriverGone;
            };
            place.send(Inbound::Batch(std::mem::take(self.unread)));
        }
    }

    /// Turns octets of the line into the datagrams that they complete.
    fn batch(&mut self, mut bytes: &[u8]) -> Batch {
        let mut batch = Batch::new();
        let before = *self.frames.stats();
        let (mut oversize, mut largest) = (0, 0);
        while let Some(datagram) = self.frames.feed(&mut bytes) {
            // [MQTT-SN 1.2 §5.2.1] D-02
            if datagram.len() > self.link.max_message {
                oversize += 1;
                largest = largest.max(datagram.len());
                continue;
            }
            self.link.stats.received(datagram.len(), 0);
            let binding = self.link.binding(Peer::Line);
            batch.push((binding, self.pool.copy(datagram)));
        }
        let after = *self.frames.stats();
        add(
            &self.link.stats.line_octets_in,
            after.octets - before.octets,
        );
        self.dropped(DropReason::Oversize, largest, oversize);
        self.count_broken(&before, &after);
        batch
    }

    fn count_broken(&mut self, before: &FrameStats, after: &FrameStats) {
        for (reason, count) in [
            (DropReason::Crc, after.crc_errors - before.crc_errors),
            (DropReason::Cobs, after.cobs_errors - before.cobs_errors),
            (DropReason::TooShort, after.too_short - before.too_short),
            (DropReason::Overrun, after.overruns - before.overruns),
        ] {
            self.dropped(reason, 0, count);
        }
    }

    fn dropped(&mut self, reason: DropReason, octets: usize, count: u64) {
        let who = &self.link.name;
        self.link.drops.dropped_many(reason, who, octets, count);
    }
}

/// The first pause before a device is opened again.
const REOPEN_MIN: Duration = Duration::from_millis(100);
/// The longest pause before a device is opened again.
const REOPEN_MAX: Duration = Duration::from_secs(5);
/// The octets read at once: what a kernel's line buffer holds.
const READ_LEN: usize = 4096;
