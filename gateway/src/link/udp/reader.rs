//! The receiving side of a UDP link.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn_udp::{BATCH_SIZE, RecvMeta};
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::super::drops::FLUSH_INTERVAL;
use super::super::kernel::KernelDrops;
use super::super::pool::Pool;
use super::super::stats::DropReason;
use super::super::{Batch, Inbound, Link};
use super::port::{Port, header_octets};
use crate::session::{LinkEvent, Peer};

/// The task that reads the socket.
pub(super) struct Reader {
    link: Link,
    port: Arc<Port>,
    /// One slot of one octet more than a datagram may have for each of a batch: what fills
    /// its slot was too large.
    slots: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    pool: Pool,
    kernel: Option<KernelDrops>,
}

impl Reader {
    pub(super) fn new(link: Link, port: Arc<Port>) -> Self {
        let kernel = KernelDrops::of(&port.socket, port.local.is_ipv6());
        if let Err(error) = &kernel {
            tracing::warn!(link = %link.name, %error, "datagrams that the kernel drops are not counted");
        }
        Self {
            slots: vec![0; BATCH_SIZE * (link.max_message + 1)],
            metas: [RecvMeta::default(); BATCH_SIZE],
            pool: Pool::default(),
            kernel: kernel.ok(),
            link,
            port,
        }
    }

    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(FLUSH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let inbound = self.link.inbound.clone();
        loop {
            let received = tokio::select! {
                received = receive(&self.port, &mut self.slots, &mut self.metas, self.link.max_message + 1) => received,
                _ = tick.tick() => {
                    self.count_kernel_drops();
                    self.link.drops.flush();
                    if self.tell(self.port.look()).await.is_err() {
                        return;
                    }
                    continue;
                }
                () = inbound.closed() => return,
            };
            match received {
                Ok(count) => {
                    if self.tell(self.port.heard()).await.is_err() {
                        return;
                    }
                    let batch = self.batch(count);
                    if batch.is_empty() {
                        continue;
                    }
                    self.link.heard();
                    if inbound.send(Inbound::Batch(batch)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // A lasting error comes ten times a second; its lines must not.
                    if self.link.drops.may_write(READ_ERROR) {
                        tracing::warn!(link = %self.link.name, %error, "cannot read the socket");
                    }
                    tokio::time::sleep(READ_ERROR_PAUSE).await;
                }
            }
        }
    }

    /// Tells the driver that the network has come or gone, where it has.
    async fn tell(&self, event: Option<LinkEvent>) -> Result<(), mpsc::error::SendError<Inbound>> {
        let Some(event) = event else { return Ok(()) };
        match event {
            LinkEvent::Down => {
                tracing::warn!(link = %self.link.name, "the network is gone; it will be looked for");
            }
            _ => tracing::info!(link = %self.link.name, "the network is back"),
        }
        let event = Inbound::Event(self.link.id, event);
        self.link.inbound.send(event).await
    }

    /// Turns what one call has read into a batch.
    fn batch(&mut self, count: usize) -> Batch {
        let mut batch = Batch::with_capacity(count);
        let slot_len = self.link.max_message + 1;
        for index in 0..count {
            let meta = self.metas[index];
            if let (Some(mut replies), Some(own)) = (self.port.replies(), meta.dst_ip) {
                replies.learn(meta.addr, own);
            }
            if meta.len == 0 {
                self.dropped(DropReason::Empty, meta.addr, 0);
                continue;
            }
            // [MQTT-SN 1.2 §5.2.1] D-02
            if meta.len > self.link.max_message {
                self.dropped(DropReason::Oversize, meta.addr, meta.len);
                continue;
            }
            let slot = index * slot_len;
            let datagram = self.pool.copy(&self.slots[slot..slot + meta.len]);
            let line_octets = meta.len + header_octets(meta.addr);
            self.link.stats.received(meta.len, line_octets);
            let binding = self.link.binding(Peer::Socket(meta.addr));
            batch.push((binding, datagram));
        }
        batch
    }

    fn dropped(&mut self, reason: DropReason, who: SocketAddr, octets: usize) {
        let who = format_args!("{}/{who}", self.link.name);
        self.link.drops.dropped(reason, who, octets);
    }

    fn count_kernel_drops(&mut self) {
        if let Some(count) = self.kernel.as_mut().and_then(|kernel| kernel.poll().ok()) {
            let (reason, who) = (DropReason::KernelBuffer, &self.link.name);
            self.link.drops.dropped_many(reason, who, 0, count);
        }
    }
}

/// Reads up to a batch of datagrams with one system call.
async fn receive(
    port: &Port,
    slots: &mut [u8],
    metas: &mut [RecvMeta; BATCH_SIZE],
    slot_len: usize,
) -> io::Result<usize> {
    let read = || {
        let mut slots = slots.chunks_exact_mut(slot_len);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
        port.state.recv((&port.socket).into(), &mut buffers, metas)
    };
    port.socket.async_io(Interest::READABLE, read).await
}

/// What errors of the socket are counted as in the log.
const READ_ERROR: &str = "read_error";
/// The pause after an error of the socket, so that a lasting one does not spin.
const READ_ERROR_PAUSE: Duration = Duration::from_millis(100);
