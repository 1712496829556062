//! Many nodes at once: UDP clients that publish with one message in flight each.
//!
//! Every client has a socket, a port and a session of its own, as real nodes have. All of them
//! connect and register first; then the clock starts and each publishes, waits for the
//! acknowledgement, and publishes again. Only the loopback is loaded, and only for a bounded
//! time or number of publications.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use shared::wire::{
    Connect, Disconnect, Message, MsgId, Publish, QoS, Register, ReturnCode, TopicId, TopicRef,
};
use tokio::net::UdpSocket;
use tokio::sync::Barrier;
use tokio::time::timeout;

/// What to load the gateway with.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The gateway's UDP address, on the loopback.
    pub gateway: SocketAddr,
    /// How many clients there are.
    pub clients: usize,
    /// How long each client publishes.
    pub duration: Duration,
    /// How many publications each client stops at.
    pub publications_max: u64,
    /// The quality of service, 1 or 2.
    pub qos: QoS,
    /// The payload's size in octets; it begins with the publication's number.
    pub payload_len: usize,
    /// How long a client waits before it repeats a message (T_retry).
    pub retry: Duration,
    /// How long a client pauses between two publications; before the first, each a bit longer
    /// than the one before it.
    pub pause: Duration,
    /// What the client ids begin with; the topics are `load/CLIENT_ID`.
    pub client_prefix: String,
}

impl LoadOptions {
    /// Creates the options for `clients` clients at QoS 1 for ten seconds.
    #[must_use]
    pub fn new(gateway: SocketAddr, clients: usize) -> Self {
        Self {
            gateway,
            clients,
            duration: Duration::from_secs(10),
            publications_max: u64::MAX,
            qos: QoS::AtLeastOnce,
            payload_len: 8,
            retry: Duration::from_secs(2),
            pause: Duration::ZERO,
            client_prefix: "load-".to_owned(),
        }
    }
}

/// What the clients saw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadReport {
    /// How many clients connected and published.
    pub clients: usize,
    /// How many publications were acknowledged.
    pub acknowledged: u64,
    /// How many messages had to be repeated after T_retry, connecting included.
    pub retries: u64,
    /// How many publications the gateway refused with a return code.
    pub refused: u64,
    /// From the first to the last publication, in seconds.
    pub elapsed_s: f64,
    /// Acknowledged publications a second.
    pub rate_per_s: f64,
    /// How long connecting and registering all clients took, in seconds.
    pub connect_s: f64,
    /// The median time from PUBLISH to its acknowledgement, in milliseconds.
    pub p50_ms: f64,
    /// The time that 99 of 100 acknowledgements stayed within, in milliseconds.
    pub p99_ms: f64,
    /// The longest time to an acknowledgement, in milliseconds.
    pub max_ms: f64,
}

/// Loads the gateway and returns what the clients saw.
///
/// # Errors
/// Where the gateway is not on the loopback, sockets run out, or a client is not answered
/// although it repeated its message ten times.
pub fn run(options: &LoadOptions) -> Result<LoadReport> {
    ensure!(
        options.gateway.ip().is_loopback(),
        "the load generator loads the loopback only, not {}",
        options.gateway
    );
    ensure!(options.clients > 0, "a load needs at least one client");
    ensure!(
        matches!(options.qos, QoS::AtLeastOnce | QoS::ExactlyOnce),
        "one message in flight needs an acknowledgement: QoS 1 or 2"
    );
    raise_file_limit(options.clients)?;
    // One thread: on a small machine the cores belong to the gateway and the broker.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(load(options))
}

async fn load(options: &LoadOptions) -> Result<LoadReport> {
    let begun = Instant::now();
    let connected = Arc::new(Barrier::new(options.clients + 1));
    let mut clients = Vec::with_capacity(options.clients);
    for number in 0..options.clients {
        let client = Client::open(number, options).await?;
        let connected = Arc::clone(&connected);
        clients.push(tokio::spawn(client.live(connected)));
    }
    // A client that fails never reaches the barrier: then its error is what counts.
    let patience = options.retry * ATTEMPTS * 3;
    let all_connected = timeout(patience, connected.wait()).await.is_ok();
    let connect = begun.elapsed();
    let start = Instant::now();
    let mut totals = Totals::default();
    for client in clients {
        if !all_connected && !client.is_finished() {
            client.abort();
            continue;
        }
        totals.add(client.await.context("a client panicked")??);
    }
    ensure!(
        all_connected,
        "not every client connected within {patience:?}"
    );
    Ok(totals.report(options, connect, start.elapsed()))
}

/// One client; its tally grows until it is done.
struct Client {
    socket: UdpSocket,
    name: String,
    options: LoadOptions,
    tally: Tally,
    last_id: MsgId,
    /// Its place among all clients, 0 to 1.
    share: f64,
}

#[derive(Debug, Default)]
struct Tally {
    acknowledged: u64,
    retries: u64,
    refused: u64,
    latencies_us: Vec<u32>,
}

impl Client {
    async fn open(number: usize, options: &LoadOptions) -> Result<Self> {
        let local = if options.gateway.is_ipv6() {
            "[::1]:0"
        } else {
            "127.0.0.1:0"
        };
        let socket = UdpSocket::bind(local).await.context("no socket left")?;
        socket.connect(options.gateway).await?;
        Ok(Self {
            socket,
            name: format!("{}{number:05}", options.client_prefix),
            options: options.clone(),
            tally: Tally::default(),
            last_id: MsgId::NONE,
            share: number as f64 / options.clients as f64,
        })
    }

    async fn live(mut self, connected: Arc<Barrier>) -> Result<Tally> {
        let topic = self.connect().await?;
        connected.wait().await;
        let end = Instant::now() + self.options.duration;
        let mut number = 0;
        // Otherwise all of them would speak at once, again and again.
        self.pause_for(self.options.pause.mul_f64(self.share)).await;
        while Instant::now() < end && number < self.options.publications_max {
            number += 1;
            self.publish(topic, number).await?;
            self.pause_for(self.options.pause).await;
        }
        self.disconnect().await?;
        Ok(self.tally)
    }

    async fn pause_for(&self, pause: Duration) {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    async fn connect(&mut self) -> Result<TopicRef> {
        let name = self.name.clone();
        let connect = Message::Connect(Connect {
            will: false,
            clean: true,
            protocol_id: Connect::PROTOCOL_ID,
            duration_s: 300,
            client_id: name.as_bytes(),
        });
        let code = self
            .request(&connect, |message| match message {
                Message::ConnAck(answer) => Some(answer.return_code),
                _ => None,
            })
            .await?;
        ensure!(code == ReturnCode::Accepted, "CONNECT of {name}: {code}");
        let msg_id = self.next_id();
        let topic_name = format!("load/{name}");
        let register = Message::Register(Register {
            topic_id: TopicId::NONE,
            msg_id,
            topic_name: topic_name.as_bytes(),
        });
        let ack = self
            .request(&register, |message| match message {
                Message::RegAck(ack) if ack.msg_id == msg_id => Some(*ack),
                _ => None,
            })
            .await?;
        ensure!(
            ack.return_code == ReturnCode::Accepted,
            "REGISTER of {name}: {}",
            ack.return_code
        );
        Ok(TopicRef::Normal(ack.topic_id))
    }

    async fn publish(&mut self, topic: TopicRef, number: u64) -> Result<()> {
        let msg_id = self.next_id();
        let mut payload = number.to_string().into_bytes();
        payload.resize(self.options.payload_len.max(payload.len()), b' ');
        let publish = Message::Publish(Publish {
            dup: false,
            qos: self.options.qos,
            retain: false,
            topic,
            msg_id,
            payload: &payload,
        });
        let sent = Instant::now();
        let code = self
            .request(&publish, |message| match message {
                Message::PubAck(ack) if ack.msg_id == msg_id => Some(ack.return_code),
                Message::PubRec(id) if *id == msg_id => Some(ReturnCode::Accepted),
                _ => None,
            })
            .await?;
        if code != ReturnCode::Accepted {
            self.tally.refused += 1;
            // A refusal for congestion would otherwise be repeated as fast as the loopback is.
            tokio::time::sleep(REFUSED_PAUSE).await;
            return Ok(());
        }
        if self.options.qos == QoS::ExactlyOnce {
            self.request(&Message::PubRel(msg_id), |message| match message {
                Message::PubComp(id) if *id == msg_id => Some(()),
                _ => None,
            })
            .await?;
        }
        self.tally.acknowledged += 1;
        let latency = u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.tally.latencies_us.push(latency);
        Ok(())
    }

    async fn disconnect(&mut self) -> Result<()> {
        let disconnect = Message::Disconnect(Disconnect { duration_s: None });
        self.request(&disconnect, |message| {
            matches!(message, Message::Disconnect(_)).then_some(())
        })
        .await
    }

    /// Sends a message until `answer` finds its answer.
    async fn request<T>(
        &mut self,
        message: &Message<'_>,
        answer: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<T> {
        let mut message = *message;
        for attempt in 0..ATTEMPTS {
            self.tally.retries += u64::from(attempt > 0);
            self.send(&message).await?;
            match timeout(self.options.retry, receive(&self.socket, &answer)).await {
                Ok(found) => return found,
                Err(_) => mark_repeated(&mut message),
            }
        }
        bail!("{} of {} is not answered", message.kind().name(), self.name)
    }

    async fn send(&self, message: &Message<'_>) -> Result<()> {
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        let len = message.emit(&mut buffer).context("cannot emit")?;
        self.socket.send(&buffer[..len]).await?;
        Ok(())
    }

    const fn next_id(&mut self) -> MsgId {
        self.last_id = self.last_id.next();
        self.last_id
    }
}

async fn receive<T>(socket: &UdpSocket, answer: &impl Fn(&Message<'_>) -> Option<T>) -> Result<T> {
    let mut buffer = [0; DATAGRAM_LEN_MAX];
    loop {
        let len = socket.recv(&mut buffer).await?;
        let message = Message::parse(&buffer[..len]).context("the gateway sent no message")?;
        if let Some(found) = answer(&message) {
            return Ok(found);
        }
    }
}

#[derive(Debug, Default)]
struct Totals {
    clients: usize,
    tally: Tally,
}

impl Totals {
    fn add(&mut self, tally: Tally) {
        self.clients += 1;
        self.tally.acknowledged += tally.acknowledged;
        self.tally.retries += tally.retries;
        self.tally.refused += tally.refused;
        self.tally.latencies_us.extend(tally.latencies_us);
    }

    fn report(mut self, options: &LoadOptions, connect: Duration, elapsed: Duration) -> LoadReport {
        let latencies = &mut self.tally.latencies_us;
        latencies.sort_unstable();
        let elapsed_s = elapsed.as_secs_f64();
        debug_assert_eq!(self.clients, options.clients);
        LoadReport {
            clients: self.clients,
            acknowledged: self.tally.acknowledged,
            retries: self.tally.retries,
            refused: self.tally.refused,
            elapsed_s,
            rate_per_s: self.tally.acknowledged as f64 / elapsed_s,
            connect_s: connect.as_secs_f64(),
            p50_ms: percentile_ms(latencies, 50),
            p99_ms: percentile_ms(latencies, 99),
            max_ms: percentile_ms(latencies, 100),
        }
    }
}

/// Returns the value that `percent` of the sorted `latencies_us` do not exceed.
fn percentile_ms(latencies_us: &[u32], percent: usize) -> f64 {
    let rank = (latencies_us.len() * percent).div_ceil(100);
    let value = latencies_us.get(rank.saturating_sub(1)).copied();
    f64::from(value.unwrap_or(0)) / 1000.0
}

const fn mark_repeated(message: &mut Message<'_>) {
    if let Message::Publish(publish) = message {
        publish.dup = true;
    }
}

/// Makes room for a socket per client: the usual soft limit is 1,024 files.
fn raise_file_limit(clients: usize) -> Result<()> {
    let needed = u64::try_from(clients)? + FILES_BESIDE;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= needed {
        return Ok(());
    }
    ensure!(
        hard >= needed,
        "{clients} clients need {needed} open files, the limit is {hard} (ulimit -Hn)"
    );
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard)?;
    Ok(())
}

/// How often a message is sent before the gateway counts as gone.
const ATTEMPTS: u32 = 10;
/// How long a client waits after a refusal.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// The largest datagram a client reads or writes, in octets.
const DATAGRAM_LEN_MAX: usize = 1_500;
/// Open files beside the clients' sockets.
const FILES_BESIDE: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let latencies: Vec<u32> = (1..=1000).map(|n| n * 1000).collect();
        let all = [50, 99, 100].map(|percent| percentile_ms(&latencies, percent));
        assert_eq!(all, [500.0, 990.0, 1000.0]);
        assert_eq!(percentile_ms(&[], 99).to_bits(), 0.0_f64.to_bits());
        assert_eq!(percentile_ms(&[7000], 1).to_bits(), 7.0_f64.to_bits());
    }

    #[test]
    fn only_the_loopback_is_loaded() {
        let elsewhere = LoadOptions::new("192.0.2.1:10000".parse().unwrap(), 1);
        assert!(
            run(&elsewhere)
                .unwrap_err()
                .to_string()
                .contains("loopback")
        );
    }

    #[test]
    fn a_silent_gateway_is_an_error_and_not_a_hang() {
        let silent = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let mut options = LoadOptions::new(silent.local_addr().unwrap(), 2);
        options.retry = Duration::from_millis(10);
        assert!(run(&options).is_err());
    }
}
