//! A broker that follows a script: it cuts, delays, forgets, refuses and falls silent.
//!
//! It keeps the rules of MQTT 5 where the script says nothing, hands QoS 2 publications on at
//! PUBREL, and writes down all it sees.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file includes this and uses its own part"
)]

mod serve;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, Connect, ConnectReturnCode, DisconnectReasonCode, Filter, Login, Packet,
    PubAckReason, PubRecReason, Publish, PublishProperties, RetainForwardRule, SubscribeReasonCode,
};
use shared::rng::Rng;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What the broker does. May be changed at any time.
pub struct Script {
    /// Whether the session outlives a connection.
    pub keep_session: bool,
    /// Answers CONNECT by this code.
    pub refuse_connect: Option<ConnectReturnCode>,
    /// The user and password to be shown.
    pub login: Option<(String, String)>,
    /// What the CONNACK says besides.
    pub limits: Option<ConnAckProperties>,
    /// Never answers anything.
    pub dead: bool,
    /// Reads and answers nothing more after CONNACK.
    pub dead_after_connack: bool,
    /// Stops reading after CONNACK.
    pub deaf_after_connack: bool,
    /// Cuts each connection after so many PUBLISH packets, unanswered.
    pub cut_after: Option<usize>,
    /// The chance of a cut around each packet, in parts per million.
    pub cut_ppm: u32,
    /// Collects the answers to PUBLISH on this topic, or on all for "#", until
    /// [`FakeBroker::release_acks`].
    pub withhold_topic: Option<String>,
    /// Waits with each answer.
    pub delay: Duration,
    /// Answers PUBLISH to a topic by this code.
    pub refuse_topic: HashMap<String, PubAckReason>,
    /// Answers the next so many PUBLISH packets by "packet identifier in use".
    pub ids_in_use: usize,
    /// Answers every PUBREL by "packet identifier not found".
    pub unknown_releases: bool,
    /// Ends the connection when this topic is published to.
    pub poison: Option<(String, DisconnectReasonCode)>,
    /// Answers SUBSCRIBE for a filter by this code.
    pub refuse_filter: HashMap<String, SubscribeReasonCode>,
    /// Answers the next so many SUBSCRIBE and UNSUBSCRIBE packets by "packet identifier in use".
    pub subscription_ids_in_use: usize,
    /// Refuses SUBSCRIBE with a Subscription Identifier by a code that says so.
    pub refuse_identifiers: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            keep_session: true,
            refuse_connect: None,
            login: None,
            limits: None,
            dead: false,
            dead_after_connack: false,
            deaf_after_connack: false,
            cut_after: None,
            cut_ppm: 0,
            withhold_topic: None,
            delay: Duration::ZERO,
            refuse_topic: HashMap::new(),
            ids_in_use: 0,
            unknown_releases: false,
            poison: None,
            refuse_filter: HashMap::new(),
            subscription_ids_in_use: 0,
            refuse_identifiers: false,
        }
    }
}

/// A PUBLISH as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub connection: usize,
    pub packet_id: u16,
    pub dup: bool,
    pub qos: QoS,
    pub retain: bool,
    pub topic: String,
    pub payload: Bytes,
}

/// What the broker has seen.
#[derive(Default)]
pub struct Record {
    pub connects: Vec<(Connect, Option<Login>)>,
    pub seen: Vec<Seen>,
    /// What subscribers would have got: at PUBLISH for QoS 0 and 1, at PUBREL for QoS 2.
    pub handed_on: Vec<(String, Bytes)>,
    pub subscribed: Vec<(String, QoS, RetainForwardRule)>,
    /// The packet id and the Subscription Identifier of each filter.
    pub identifiers: Vec<(String, u16, Option<usize>)>,
    /// Filters that were subscribed to with an option that nodes cannot ask for.
    pub strange_filters: Vec<Filter>,
    pub subscribe_packets: usize,
    pub unsubscribed: Vec<String>,
    pub acks: Vec<Packet>,
    pub pings: usize,
    pub orderly_disconnects: usize,
    /// Packet ids used while open: a violation by the client.
    pub reused_ids: Vec<u16>,
    pub open_max: usize,
}

#[derive(Default)]
struct State {
    script: Script,
    record: Record,
    session: Session,
    rng: Option<Rng>,
    current: Option<(usize, UnboundedSender<Action>)>,
}

#[derive(Default)]
struct Session {
    exists: bool,
    /// QoS 2 publications between PUBREC and PUBREL.
    received: BTreeMap<u16, Publish>,
    /// Downlink publications not acknowledged.
    outgoing: BTreeMap<u16, Publish>,
    /// Downlink QoS 2 publications not completed.
    releasing: BTreeMap<u16, ()>,
    withheld: Vec<Packet>,
    /// Uplink exchanges without an answer on this connection.
    open: Vec<u16>,
}

enum Action {
    Send(Box<Packet>),
    Cut,
}

impl Action {
    fn send(packet: Packet) -> Self {
        Self::Send(Box::new(packet))
    }
}

/// The broker; dropped, it ends.
pub struct FakeBroker {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeBroker {
    pub async fn start(script: Script, seed: u64) -> Self {
        Self::start_on(script, seed, None).await
    }

    pub async fn start_tls(script: Script, acceptor: TlsAcceptor) -> Self {
        Self::start_on(script, 0, Some(acceptor)).await
    }

    async fn start_on(script: Script, seed: u64, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            script,
            rng: Some(Rng::new(seed)),
            ..State::default()
        }));
        let task = tokio::spawn(serve::accept(listener, state.clone(), tls));
        Self {
            address,
            state,
            task,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.state).script);
    }

    pub fn record<R>(&self, read: impl FnOnce(&Record) -> R) -> R {
        read(&lock(&self.state).record)
    }

    /// Sends a PUBLISH to the client and repeats it on later connections until acknowledged.
    pub fn deliver(&self, packet_id: u16, qos: QoS, topic: &str, payload: &str, retain: bool) {
        let mut publish = Publish::new(topic, qos, payload.to_owned(), None);
        publish.pkid = packet_id;
        publish.retain = retain;
        let mut state = lock(&self.state);
        if qos != QoS::AtMostOnce {
            state.session.outgoing.insert(packet_id, publish.clone());
        }
        state.act(Action::send(Packet::Publish(publish)));
    }

    /// As [`Self::deliver`] for topic "d", with properties.
    pub fn deliver_with(&self, packet_id: u16, payload: &str, properties: PublishProperties) {
        let mut publish = Publish::new("d", QoS::AtLeastOnce, payload.to_owned(), Some(properties));
        publish.pkid = packet_id;
        let mut state = lock(&self.state);
        state.session.outgoing.insert(packet_id, publish.clone());
        state.act(Action::send(Packet::Publish(publish)));
    }

    /// Sends any packet, out of order or not.
    pub fn send(&self, packet: Packet) {
        lock(&self.state).act(Action::send(packet));
    }

    /// Makes the session owe a PUBREL for a publication of an earlier life of the client.
    pub fn owe_release(&self, packet_id: u16) {
        let mut state = lock(&self.state);
        state.session.exists = true;
        state.session.releasing.insert(packet_id, ());
    }

    /// Sends the answers withheld so far, turned round or not.
    pub fn release_acks(&self, reversed: bool) {
        let mut state = lock(&self.state);
        let mut acks = std::mem::take(&mut state.session.withheld);
        if reversed {
            acks.reverse();
        }
        for ack in acks {
            state.answer(ack);
        }
    }

    /// Cuts the connection.
    pub fn cut(&self) {
        lock(&self.state).act(Action::Cut);
    }

    /// Drops everything it knows of the client.
    pub fn forget_session(&self) {
        lock(&self.state).session = Session::default();
    }
}

impl State {
    fn act(&self, action: Action) {
        if let Some((_, actions)) = &self.current {
            let _ = actions.send(action);
        }
    }

    fn answer(&mut self, packet: Packet) {
        let id = match &packet {
            Packet::PubAck(ack) => Some(ack.pkid),
            Packet::PubRec(ack) if ack.reason != PubRecReason::Success => Some(ack.pkid),
            Packet::PubComp(ack) => Some(ack.pkid),
            _ => None,
        };
        if let Some(id) = id {
            self.session.open.retain(|open| *open != id);
        }
        self.act(Action::send(packet));
    }

    fn rolls_cut(&mut self) -> bool {
        let ppm = self.script.cut_ppm;
        self.rng.as_mut().is_some_and(|rng| rng.chance_ppm(ppm))
    }
}

/// A CONNACK that says nothing besides.
pub fn no_properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

fn lock(state: &Arc<Mutex<State>>) -> MutexGuard<'_, State> {
    state
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
