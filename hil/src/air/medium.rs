//! The air between real lines: the sockets of emulated serial ports and the gateway's
//! pseudo-terminal.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use shared::fault::FaultStats;
use shared::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_serial::{SerialPort, SerialStream};

use super::{Air, Destination, Source, Tally};

/// Frames that may wait for a line whose reader is slow; further ones are dropped and counted.
pub const GATEWAY_QUEUE_FRAMES: usize = 256;

/// The air at work, on a thread of its own; ends when it is dropped.
#[derive(Debug)]
pub struct Medium {
    shared: Arc<Shared>,
    gateway_path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    air: Mutex<Air>,
    clogged: std::sync::atomic::AtomicU64,
}

impl Medium {
    /// Opens a pseudo-terminal for the gateway and carries frames between it and the sockets at
    /// `node_sockets`, which need not be there yet: each is tried until it answers.
    ///
    /// # Errors
    /// Where no pseudo-terminal is to be had.
    pub fn start(air: Air, node_sockets: Vec<PathBuf>) -> Result<Self> {
        let shared = Arc::new(Shared {
            air: Mutex::new(air),
            clogged: 0.into(),
        });
        let (stop, stopped) = oneshot::channel();
        let (opened, gateway_path) = std::sync::mpsc::channel();
        let runner = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(carry(&runner, &node_sockets, &opened, stopped))
        });
        let mut medium = Self {
            shared,
            gateway_path: PathBuf::new(),
            stop: Some(stop),
            thread: Some(thread),
        };
        match gateway_path.recv() {
            Ok(path) => medium.gateway_path = path,
            Err(_) => medium.stop().context("the air did not start")?,
        }
        Ok(medium)
    }

    /// Returns the serial device that the gateway is to open.
    #[must_use]
    pub fn gateway_path(&self) -> &Path {
        &self.gateway_path
    }

    /// Returns what was seen so far, node by node.
    #[must_use]
    pub fn tallies(&self) -> Vec<Tally> {
        self.shared.air().tallies()
    }

    /// Returns what the faults did so far, direction by direction.
    #[must_use]
    pub fn fault_stats(&self) -> Vec<FaultStats> {
        self.shared.air().fault_stats()
    }

    /// Returns the frames that were dropped because a line's reader was too slow; such a run
    /// says nothing about the link.
    #[must_use]
    pub fn clogged(&self) -> u64 {
        self.shared
            .clogged
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Ends the air.
    ///
    /// # Errors
    /// Why it had ended before.
    pub fn stop(&mut self) -> Result<()> {
        self.stop = None;
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the air's thread panicked")))
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

impl Shared {
    fn air(&self) -> MutexGuard<'_, Air> {
        self.air.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Heard = (Source, Vec<u8>);

async fn carry(
    shared: &Shared,
    node_sockets: &[PathBuf],
    opened: &std::sync::mpsc::Sender<PathBuf>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let (heard_by_air, mut heard) = mpsc::channel(1024);
    let (terminal, path, _device) = pseudo_terminal()?;
    let gateway = attach(Source::Gateway, terminal, &heard_by_air);
    opened.send(path)?;
    let mut nodes = Vec::new();
    for (index, path) in node_sockets.iter().enumerate() {
        let socket = tokio::select! {
            socket = connect(path) => socket,
            _ = &mut stopped => return Ok(()),
        };
        nodes.push(attach(Source::Node(index), socket, &heard_by_air));
    }
    let epoch = tokio::time::Instant::now();
    loop {
        let now = instant(epoch.elapsed());
        while let Some((destination, frame)) = shared.next(now) {
            let line = match destination {
                Destination::Gateway => Some(&gateway),
                Destination::Node(index) => nodes.get(index),
            };
            if line.is_some_and(|line| line.try_send(frame).is_err()) {
                shared
                    .clogged
                    .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let due = shared.air().poll_timeout();
        tokio::select! {
            _ = &mut stopped => return Ok(()),
            Some((source, bytes)) = heard.recv() => {
                shared.air().handle_bytes(instant(epoch.elapsed()), source, &bytes);
            }
            () = wait_until(epoch, due) => {}
        }
    }
}

impl Shared {
    fn next(&self, now: Instant) -> Option<(Destination, Vec<u8>)> {
        self.air().poll_deliver(now)
    }
}

/// Opens a pseudo-terminal: our end of it, the path of the device at the other end, and that
/// device held open, so that a gateway that leaves does not hang up.
fn pseudo_terminal() -> Result<(SerialStream, PathBuf, File)> {
    let (terminal, device) = SerialStream::pair().context("no pseudo-terminal")?;
    let path = PathBuf::from(device.name().context("the pseudo-terminal has no name")?);
    let held = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(&path)?;
    // As a serial port it is locked, and the gateway's to open.
    drop(device);
    Ok((terminal, path, held))
}

/// Reads and writes a line by tasks of their own; returns the queue of what is to be written.
/// A line whose other end goes away is silent from then on.
fn attach(
    source: Source,
    line: impl AsyncRead + AsyncWrite + Send + 'static,
    heard: &mpsc::Sender<Heard>,
) -> mpsc::Sender<Vec<u8>> {
    let (mut reader, mut writer) = tokio::io::split(line);
    let heard = heard.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(len) => {
                    if heard.send((source, buffer[..len].to_vec())).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    let (queue, mut waiting) = mpsc::channel::<Vec<u8>>(GATEWAY_QUEUE_FRAMES);
    tokio::spawn(async move {
        while let Some(frame) = waiting.recv().await {
            if writer.write_all(&frame).await.is_err() {
                // Taken and dropped: the node or the gateway has gone, which is its right.
                while waiting.recv().await.is_some() {}
            }
        }
    });
    queue
}

async fn connect(path: &Path) -> UnixStream {
    loop {
        if let Ok(socket) = UnixStream::connect(path).await {
            return socket;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn wait_until(epoch: tokio::time::Instant, due: Option<Instant>) {
    match due {
        Some(due) => {
            tokio::time::sleep_until(epoch + Duration::from_millis(due.as_millis())).await;
        }
        None => std::future::pending().await,
    }
}

fn instant(since_epoch: Duration) -> Instant {
    Instant::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use shared::fault::FaultProfile;
    use shared::frame::{Lead, encode};
    use shared::wire::NodeId;

    use super::*;

    #[test]
    fn frames_go_from_a_nodes_socket_to_the_gateways_device_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("line");
        let listener = UnixListener::bind(&socket).unwrap();
        let node_id = NodeId::new(&[1]).unwrap();
        let air = Air::new(FaultProfile::perfect(), 1, &[node_id]);
        let mut medium = Medium::start(air, vec![socket]).unwrap();
        let (mut node, _) = listener.accept().unwrap();
        let mut gateway = OpenOptions::new()
            .read(true)
            .write(true)
            .open(medium.gateway_path())
            .unwrap();

        let mut frame = [0; 32];
        let len = encode(b"\x02\x17", Lead::Delimiter, &mut frame).unwrap();
        let mut heard = vec![0; len];
        node.write_all(&frame[..len]).unwrap();
        gateway.read_exact(&mut heard).unwrap();
        assert_eq!(heard, frame[..len]);
        gateway.write_all(&frame[..len]).unwrap();
        node.read_exact(&mut heard).unwrap();
        assert_eq!(heard, frame[..len]);
        assert_eq!((medium.clogged(), medium.tallies()[0].up_frames), (0, 1));
        medium.stop().unwrap();
    }
}
