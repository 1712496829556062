//! A subscriber at the broker that keeps what it sees.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rumqttc::{Client, Connection, Event, Incoming, MqttOptions, QoS};

use crate::{Credentials, Mosquitto, PATIENCE};

/// An MQTT client that subscribes and collects; it reconnects until it is dropped.
pub struct MqttProbe {
    client: Client,
    seen: Arc<Seen>,
}

/// Where the probe connects and what it subscribes to.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// The broker's port on the loopback.
    pub port: u16,
    /// The user to log in as.
    pub credentials: Option<Credentials>,
    /// The topic filters, all at QoS 2 so that nothing is downgraded.
    pub filters: Vec<String>,
}

/// One publication as the broker delivered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The topic name.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The quality of service, 0 to 2.
    pub qos: u8,
    /// Whether it was a retained one.
    pub retain: bool,
    /// When it came.
    pub at: Instant,
}

#[derive(Debug, Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
    closing: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    received: Vec<Received>,
    subscriptions: u64,
    fault: Option<String>,
}

impl ProbeOptions {
    /// Creates the options for `broker`, with the credentials that it asks for.
    #[must_use]
    pub fn new(broker: &Mosquitto, filters: &[&str]) -> Self {
        Self {
            port: broker.port(),
            credentials: broker.credentials().cloned(),
            filters: filters.iter().map(ToString::to_string).collect(),
        }
    }

    /// Creates the options for a broker on the loopback that lets everybody in.
    #[must_use]
    pub fn at(port: u16, filters: &[&str]) -> Self {
        Self {
            port,
            credentials: None,
            filters: filters.iter().map(ToString::to_string).collect(),
        }
    }
}

impl MqttProbe {
    /// Connects, subscribes, and waits until the broker has taken the subscriptions.
    ///
    /// # Errors
    /// Where the broker does not answer or refuses.
    pub fn start(options: ProbeOptions) -> Result<Self> {
        let id = client_id();
        let mut mqtt = MqttOptions::new(id, "127.0.0.1", options.port);
        // A session that lasts: the broker keeps what comes while the probe reconnects.
        mqtt.set_keep_alive(Duration::from_secs(10))
            .set_clean_session(false)
            .set_max_packet_size(1 << 20, 1 << 20);
        if let Some(Credentials { user, password }) = options.credentials {
            mqtt.set_credentials(user, password);
        }
        let (client, connection) = Client::new(mqtt, 16 + options.filters.len());
        let seen = Arc::new(Seen::default());
        let probe = Self {
            client: client.clone(),
            seen: Arc::clone(&seen),
        };
        std::thread::spawn(move || watch(connection, &client, &options.filters, &seen));
        probe.wait_for_subscription(1, PATIENCE)?;
        Ok(probe)
    }

    /// Returns what has come so far, in the order it came.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.seen.lock().received.clone()
    }

    /// Returns how many publications have come so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen.lock().received.len()
    }

    /// Waits until at least `count` publications have come and returns them all.
    ///
    /// # Errors
    /// Where `timeout` passes first; the message says what did come.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> Result<Vec<Received>> {
        self.wait(timeout, |state| state.received.len() >= count)?;
        Ok(self.received())
    }

    /// Waits until the probe's subscriptions hold for the `count`-th time: 1 at the start, one
    /// more after every reconnection.
    ///
    /// # Errors
    /// Where `timeout` passes first or the broker refuses.
    pub fn wait_for_subscription(&self, count: u64, timeout: Duration) -> Result<()> {
        self.wait(timeout, |state| {
            state.subscriptions >= count || state.fault.is_some()
        })?;
        match &self.seen.lock().fault {
            Some(fault) => bail!("the broker refuses the probe: {fault}"),
            None => Ok(()),
        }
    }

    /// Publishes through the probe's own connection; bounded by the client's queue.
    ///
    /// # Errors
    /// Where the client has gone.
    pub fn publish(&self, topic: &str, payload: &[u8], qos: u8, retain: bool) -> Result<()> {
        let qos = rumqttc::qos(qos)?;
        self.client.publish(topic, qos, retain, payload)?;
        Ok(())
    }

    fn wait(&self, timeout: Duration, done: impl Fn(&State) -> bool) -> Result<()> {
        let start = Instant::now();
        let mut state = self.seen.lock();
        while !done(&state) {
            let Some(left) = timeout.checked_sub(start.elapsed()) else {
                bail!("the probe waited {timeout:?}; it has {}", summary(&state));
            };
            let woken = self.seen.changed.wait_timeout(state, left);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

impl Drop for MqttProbe {
    fn drop(&mut self) {
        self.seen.closing.store(true, Ordering::Relaxed);
        let _ = self.client.try_disconnect();
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

fn watch(mut connection: Connection, client: &Client, filters: &[String], seen: &Seen) {
    let mut answers_due = 0_usize;
    for event in connection.iter() {
        if seen.closing.load(Ordering::Relaxed) {
            return;
        }
        match event {
            Ok(Event::Incoming(Incoming::ConnAck(ack))) if ack.session_present => {
                seen.update(|state| state.subscriptions += 1);
            }
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                answers_due = filters.len();
                for filter in filters {
                    // Room was made for every filter; were it full, no SUBACK would come.
                    let _ = client.try_subscribe(filter, QoS::ExactlyOnce);
                }
            }
            Ok(Event::Incoming(Incoming::SubAck(_))) => {
                answers_due -= 1;
                seen.update(|state| state.subscriptions += u64::from(answers_due == 0));
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                seen.update(|state| state.received.push(received(&publish)));
            }
            Ok(_) => {}
            Err(rumqttc::ConnectionError::ConnectionRefused(code)) => {
                return seen.update(|state| state.fault = Some(format!("{code:?}")));
            }
            Err(_) => std::thread::sleep(RECONNECT),
        }
    }
}

/// Returns a client id that no other probe has.
fn client_id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("probe-{}-{count}", std::process::id())
}

fn received(publish: &rumqttc::Publish) -> Received {
    Received {
        topic: publish.topic.clone(),
        payload: publish.payload.to_vec(),
        qos: publish.qos as u8,
        retain: publish.retain,
        at: Instant::now(),
    }
}

fn summary(state: &State) -> String {
    let first: Vec<String> = state
        .received
        .iter()
        .take(5)
        .map(|one| format!("{} {}", one.topic, String::from_utf8_lossy(&one.payload)))
        .collect();
    format!("{} publications {first:?}", state.received.len())
}

/// The pause before it connects again.
const RECONNECT: Duration = Duration::from_millis(50);
