//! A serial line as a link: a radio, a cable or a pseudo-terminal, framed by
//! [`shared::frame`].
//!
//! ```text
//!            opened                 hung up, failed
//!   absent ----------> up ------------------------------> absent
//!     ^                                                     |
//!     +------ not there yet: wait 0.1 s, 0.2 s … 5 s -------+
//! ```

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use shared::frame::{FrameReader, FrameStats, Lead, encode, frame_len_max};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_serial::{SerialPortBuilderExt, SerialStream};
use tokio_util::task::AbortOnDropHandle;

use super::clock::Clock;
use super::pool::Pool;
use super::stats::{DropReason, LinkStats, add};
use super::{Batch, Link};
use crate::config::{MAX_MESSAGE_CEILING, SerialConfig};
use crate::drop_log::DropLog;
use crate::session::Peer;

/// Starts the task that opens the device, serves it, and opens it again.
pub(super) fn open(link: Link, config: &SerialConfig) -> SerialSender {
    let line = Arc::new(Line {
        stats: link.stats.clone(),
        is_up: AtomicBool::new(false),
        backlog: AtomicUsize::new(0),
        emptied: Notify::new(),
    });
    // The octets are bounded by `write_queue_bytes`, and with them the frames.
    let (queue, queued) = mpsc::unbounded_channel();
    SerialSender {
        name: link.name.clone(),
        max_message: link.max_message,
        queue_bytes_max: config.write_queue_bytes,
        frame: vec![0; frame_len_max(link.max_message)],
        queue,
        pool: Pool::default(),
        clock: Clock::start(),
        drops: DropLog::default(),
        line: line.clone(),
        _task: AbortOnDropHandle::new(tokio::spawn(
            Task {
                path: config.path.clone(),
                baud: config.baud,
                link,
                line,
                queued,
                frames: FrameReader::new(),
                pool: Pool::default(),
                clock: Clock::start(),
                drops: DropLog::default(),
            }
            .run(),
        )),
    }
}

/// The driver's end of a serial link.
#[derive(Debug)]
pub(super) struct SerialSender {
    name: Arc<str>,
    max_message: usize,
    queue_bytes_max: usize,
    frame: Vec<u8>,
    queue: mpsc::UnboundedSender<Bytes>,
    pool: Pool,
    clock: Clock,
    drops: DropLog,
    line: Arc<Line>,
    _task: AbortOnDropHandle<()>,
}

impl SerialSender {
    pub(super) fn send(&mut self, peer: Peer, datagram: &[u8]) {
        match self.try_send(peer, datagram) {
            Ok(()) => {}
            Err(reason) => {
                self.line.stats.dropped(reason, 1);
                let now = self.clock.now();
                self.drops
                    .warn(now, reason.name(), &self.name, datagram.len());
            }
        }
    }

    pub(super) async fn flush(&self) {
        self.line.flush().await;
    }

    pub(super) fn is_up(&self) -> bool {
        self.line.is_up.load(Ordering::Acquire)
    }

    fn try_send(&mut self, peer: Peer, datagram: &[u8]) -> Result<(), DropReason> {
        if peer != Peer::Line {
            return Err(DropReason::NoSuchPeer);
        }
        if datagram.len() > self.max_message {
            return Err(DropReason::SendOversize);
        }
        // What waited for a device to come back would be old news when it does; the
        // protocol's own retries are not.
        if !self.is_up() {
            return Err(DropReason::LineDown);
        }
        let waiting = self.line.backlog.load(Ordering::Acquire);
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
        let frame = self.pool.copy(&self.frame[..len]);
        self.line.backlog.fetch_add(len, Ordering::AcqRel);
        self.queue.send(frame).map_err(|_| DropReason::LineDown)?;
        // Counted when queued: the octets on the line are counted as they go.
        self.line.stats.sent(datagram.len(), 0);
        Ok(())
    }
}

/// What both ends of the link know of the line.
#[derive(Debug)]
struct Line {
    stats: Arc<LinkStats>,
    is_up: AtomicBool,
    /// The octets of frames that are queued or being written.
    backlog: AtomicUsize,
    emptied: Notify,
}

impl Line {
    async fn flush(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.backlog.load(Ordering::Acquire) == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// A frame out of the queue; it counts as waiting until it is dropped, written or not.
struct InHand<'a> {
    octets: Bytes,
    line: &'a Line,
}

impl<'a> InHand<'a> {
    const fn new(octets: Bytes, line: &'a Line) -> Self {
        Self { octets, line }
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let octets = self.octets.len();
        if self.line.backlog.fetch_sub(octets, Ordering::AcqRel) == octets {
            self.line.emptied.notify_waiters();
        }
    }
}

/// The task of the link.
struct Task {
    path: PathBuf,
    baud: u32,
    link: Link,
    line: Arc<Line>,
    queued: mpsc::UnboundedReceiver<Bytes>,
    frames: FrameReader<MAX_MESSAGE_CEILING>,
    pool: Pool,
    clock: Clock,
    drops: DropLog,
}

/// Why a line is not served any more.
enum End {
    /// The device or its other end is gone.
    HungUp(io::Error),
    /// The driver has no ear any more.
    DriverGone,
}

impl Task {
    async fn run(mut self) {
        let inbound = self.link.inbound.clone();
        let mut pause = REOPEN_MIN;
        let mut told = String::new();
        loop {
            match self.open() {
                Ok(port) => {
                    tracing::info!(link = %self.link.name, path = %self.path.display(), baud = self.baud, "line open");
                    told.clear();
                    let before = self.line.stats.snapshot().line_octets_in;
                    self.line.is_up.store(true, Ordering::Release);
                    let end = self.serve(port).await;
                    self.line.is_up.store(false, Ordering::Release);
                    match end {
                        End::DriverGone => return,
                        End::HungUp(error) => {
                            tracing::warn!(link = %self.link.name, path = %self.path.display(), %error, "line lost; it will be opened again");
                        }
                    }
                    // A device that opens and gives nothing is no better than an absent one.
                    if self.line.stats.snapshot().line_octets_in > before {
                        pause = REOPEN_MIN;
                    }
                }
                Err(error) => {
                    let message = Trouble::new(&self.path, &error).to_string();
                    if message != told {
                        tracing::warn!(link = %self.link.name, "{message}; it will be tried again");
                        told = message;
                    }
                }
            }
            self.drop_queued();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = inbound.closed() => return,
            }
            pause = (pause * 2).min(REOPEN_MAX);
        }
    }

    fn open(&mut self) -> tokio_serial::Result<SerialStream> {
        let port = tokio_serial::new(self.path.to_string_lossy(), self.baud).open_native_async()?;
        add(&self.line.stats.opened, 1);
        self.frames.reset();
        Ok(port)
    }

    async fn serve(&mut self, port: SerialStream) -> End {
        let (mut reader, writer) = tokio::io::split(port);
        let write = write_queued(writer, &mut self.queued, &self.line);
        let inbound = self.link.inbound.clone();
        let mut ear = Ear {
            link: &self.link,
            frames: &mut self.frames,
            pool: &mut self.pool,
            clock: self.clock,
            drops: &mut self.drops,
        };
        tokio::select! {
            end = ear.listen(&mut reader) => end,
            error = write => End::HungUp(error),
            () = inbound.closed() => End::DriverGone,
        }
    }

    /// Drops what was queued for a line that is gone.
    fn drop_queued(&mut self) {
        let now = self.clock.now();
        while let Ok(frame) = self.queued.try_recv() {
            let frame = InHand::new(frame, &self.line);
            let reason = DropReason::LineDown;
            self.line.stats.dropped(reason, 1);
            let who = &self.link.name;
            self.drops.warn(now, reason.name(), who, frame.octets.len());
        }
        self.drops.flush(now);
    }
}

/// The receiving side while the line is open.
struct Ear<'a> {
    link: &'a Link,
    frames: &'a mut FrameReader<MAX_MESSAGE_CEILING>,
    pool: &'a mut Pool,
    clock: Clock,
    drops: &'a mut DropLog,
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
                    self.drops.flush(self.clock.now());
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
            let batch = self.batch(&bytes[..len]);
            if !batch.is_empty() && self.link.inbound.send(batch).await.is_err() {
                return End::DriverGone;
            }
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
        self.link.stats.dropped(reason, count);
        let now = self.clock.now();
        let who = &self.link.name;
        self.drops.warn_many(now, reason.name(), who, octets, count);
    }
}

/// Writes frames as fast as the line takes them; returns why it takes no more.
async fn write_queued(
    mut port: WriteHalf<SerialStream>,
    queued: &mut mpsc::UnboundedReceiver<Bytes>,
    line: &Line,
) -> io::Error {
    while let Some(frame) = queued.recv().await {
        let frame = InHand::new(frame, line);
        if let Err(error) = port.write_all(&frame.octets).await {
            return error;
        }
        add(&line.stats.line_octets_out, frame.octets.len() as u64);
    }
    // The handle is gone; the task is being ended.
    std::future::pending().await
}

/// Why a device cannot be opened, and what to do.
struct Trouble<'a> {
    path: &'a Path,
    error: &'a tokio_serial::Error,
}

impl<'a> Trouble<'a> {
    const fn new(path: &'a Path, error: &'a tokio_serial::Error) -> Self {
        Self { path, error }
    }
}

impl fmt::Display for Trouble<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use tokio_serial::ErrorKind;
        let path = self.path.display();
        match self.error.kind() {
            ErrorKind::Io(io::ErrorKind::NotFound) => write!(
                f,
                "{path} is not there: plug the radio in, or correct path (ls /dev/serial/by-id \
                 shows the lines)"
            ),
            ErrorKind::Io(io::ErrorKind::PermissionDenied) => write!(
                f,
                "{path} may not be opened: add the gateway's user to the device's group (usually \
                 `usermod -aG dialout USER`, then log in again)"
            ),
            ErrorKind::NoDevice => write!(
                f,
                "{path} is in use: another program has it (`fuser -v {path}` shows which); end it"
            ),
            _ => write!(f, "{path} cannot be opened: {}", self.error),
        }
    }
}

/// The first pause before a device is opened again.
const REOPEN_MIN: Duration = Duration::from_millis(100);
/// The longest pause before a device is opened again.
const REOPEN_MAX: Duration = Duration::from_secs(5);
/// The octets read at once: what a kernel's line buffer holds.
const READ_LEN: usize = 4096;
/// The time between two looks for summaries that are due.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use nix::pty::openpty;

    use super::*;

    fn trouble(path: &Path) -> String {
        let error = tokio_serial::new(path.to_string_lossy(), 9600).open_native_async();
        Trouble::new(path, &error.unwrap_err()).to_string()
    }

    #[tokio::test]
    async fn every_trouble_names_the_path_and_what_to_do() {
        let missing = trouble(Path::new("/nonexistent/ttyUSB0"));
        assert!(
            missing.starts_with("/nonexistent/ttyUSB0 is not there: plug"),
            "{missing}"
        );

        let pty = openpty(None, None).unwrap();
        let path = nix::unistd::ttyname(&pty.slave).unwrap();
        let _first = tokio_serial::new(path.to_string_lossy(), 9600)
            .open_native_async()
            .unwrap();
        let taken = trouble(&path);
        assert!(
            taken.contains(&format!("fuser -v {}", path.display())),
            "{taken}"
        );

        let file = tempfile::NamedTempFile::new().unwrap();
        let text = trouble(file.path());
        assert!(
            text.starts_with(&format!("{} cannot be opened: ", file.path().display())),
            "{text}"
        );

        // Whoever runs the tests as root may open everything.
        let kind = tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied);
        let error = tokio_serial::Error::new(kind, "Permission denied");
        let denied = Trouble::new(Path::new("/dev/ttyUSB0"), &error).to_string();
        assert!(
            denied.contains("/dev/ttyUSB0") && denied.contains("dialout"),
            "{denied}"
        );
    }
}
