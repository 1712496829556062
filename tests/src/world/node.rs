//! A node: its client, its radio, and an application with moods.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use shared::client::{Client, CommandError, Config, Event, Phase, Token};
use shared::fault::FaultLink;
use shared::rng::Rng;
use shared::time::{Duration, Instant};
use shared::wire::QoS;

use super::WorldConfig;
use super::ledger::{Broken, Ledger, Standing};
use super::place;
use super::plan::{Plan, client_config, subscriptions};
use super::subject::{Subject, predefined_up, short};

pub(super) struct Node {
    pub(super) index: u8,
    pub(super) plan: Plan,
    pub(super) client: Client<8, 4, 64>,
    pub(super) boot: u32,
    /// Where it is heard.
    pub(super) place: u16,
    /// Where it has spoken.
    pub(super) places: BTreeSet<u16>,
    pub(super) up: FaultLink<64, 192>,
    pub(super) down: FaultLink<64, 192>,
    rng: Rng,
    config: Config,
    backlog: VecDeque<u32>,
    in_client: Vec<(Token, u32)>,
    wanted: Vec<(Subject, QoS)>,
    /// What the gateway has confirmed and not lost since.
    pub(super) granted: BTreeMap<String, QoS>,
    was_quiet: bool,
    online: bool,
    publish_at: Option<Instant>,
    mood_at: Option<Instant>,
    reboot_at: Option<Instant>,
    online_at: Option<Instant>,
}

impl Node {
    pub(super) fn new(index: u8, config: &WorldConfig, mut rng: Rng) -> Self {
        let plan = Plan::new(config, &mut rng);
        let client_config = client_config(index, &plan, config);
        let client = Client::new(client_config.clone(), rng.split()).unwrap();
        let (up, down) = (rng.next_u64(), rng.next_u64());
        let start = Instant::from_millis(rng.below(10_000));
        let gap = Duration::from_secs(60);
        Self {
            index,
            client,
            boot: 0,
            place: place::at(plan.link(&mut rng), 0),
            places: BTreeSet::new(),
            up: FaultLink::new(config.link, up),
            down: FaultLink::new(config.link, down),
            wanted: subscriptions(index, &mut rng),
            config: client_config,
            backlog: VecDeque::new(),
            in_client: Vec::new(),
            granted: BTreeMap::new(),
            was_quiet: true,
            online: true,
            publish_at: Some(start),
            mood_at: plan.moody.then(|| start + gap),
            reboot_at: plan.reboots.then(|| start + gap),
            online_at: Some(start),
            plan,
            rng,
        }
    }

    /// Returns when the application wants to do something.
    pub(super) fn app_timeout(&self) -> Option<Instant> {
        [
            self.publish_at,
            self.mood_at,
            self.reboot_at,
            self.online_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what the application has planned for `now`.
    pub(super) fn act(&mut self, now: Instant, ledger: &mut Ledger) {
        if take_due(&mut self.reboot_at, now) {
            self.reboot(now, ledger);
            self.reboot_at = Some(now + self.span(60, 400));
        }
        if take_due(&mut self.online_at, now) {
            self.go_online(now);
        }
        if take_due(&mut self.mood_at, now) {
            self.change_mood(now);
            self.mood_at = Some(now + self.span(5, 120));
        }
        if take_due(&mut self.publish_at, now) {
            self.compose(ledger);
            let gap = self.rng.jitter(self.plan.publish_gap, 90);
            self.publish_at = Some(now + gap + Duration::from_millis(1));
        }
        self.feed(ledger);
    }

    /// Stops making work: what is queued remains to be done.
    pub(super) fn calm_down(&mut self, now: Instant) {
        (self.publish_at, self.mood_at, self.reboot_at) = (None, None, None);
        if !self.online || self.client.phase() == Phase::Off {
            self.online = true;
            self.online_at = Some(now);
        }
    }

    /// Returns whether the node is connected, and nothing waits in its application or client.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.client.phase(), Phase::Active | Phase::Asleep)
            && self.backlog.is_empty()
            && self.client.queued() == 0
            && self.online_at.is_none()
            && self
                .wanted
                .iter()
                .all(|(it, _)| self.granted.contains_key(&it.text()))
    }

    /// Returns how the node's radio would rather be left alone now.
    pub(super) fn has_radio_off(&self) -> bool {
        self.plan.sleeps_s.is_some() && self.client.is_quiet()
    }

    /// A node that was out of touch may come back at another place.
    pub(super) fn may_have_moved(&mut self) {
        let spoke_after_silence = std::mem::take(&mut self.was_quiet);
        if spoke_after_silence && self.plan.moves && self.rng.chance_ppm(400_000) {
            self.place = place::next(self.place, self.plan.link(&mut self.rng));
        }
    }

    pub(super) fn note_quiet(&mut self) {
        self.was_quiet |= self.client.is_quiet();
    }

    /// Returns whether the node has asked for publications on `topic`.
    pub(super) fn wants(&self, topic: &str) -> bool {
        self.wanted
            .iter()
            .any(|(it, _)| shared::topics::matches(&it.text(), topic))
    }

    /// Returns whether the node has asked for `topic` at QoS 1 or 2.
    pub(super) fn wants_surely(&self, topic: &str) -> bool {
        self.wanted
            .iter()
            .any(|(it, qos)| *qos != QoS::AtMostOnce && shared::topics::matches(&it.text(), topic))
    }

    /// Hands the next event to the application; returns whether there was one.
    pub(super) fn poll_event(&mut self, now: Instant, ledger: &mut Ledger) -> Result<bool, Broken> {
        let node = self.index;
        let Some(event) = self.client.poll_event() else {
            return Ok(false);
        };
        match event {
            Event::Published { token } => self.settle(token, Standing::Published, ledger),
            // At QoS 0 it may follow its `Published`.
            Event::PublishFailed { token, reason }
                if self.in_client.iter().any(|(it, _)| *it == token) =>
            {
                return Err(format!("node {node} gave a publication up: {reason}"));
            }
            Event::Subscribed { topic, qos } => {
                let text = Subject::from(topic).text();
                let asked = self.wanted.iter().find(|(it, _)| it.text() == text);
                if asked.is_none_or(|(_, asked)| *asked != qos) {
                    return Err(format!("node {node} was granted {text} at {qos:?}"));
                }
                self.granted.insert(text, qos);
            }
            Event::Unsubscribed { topic } => {
                let again = Subject::from(topic);
                let qos = self.wanted.iter().find(|(it, _)| it.text() == again.text());
                let qos = qos.map_or(QoS::AtLeastOnce, |(_, qos)| *qos);
                self.subscribe(&again, qos);
            }
            Event::SubscribeFailed { topic, code } => {
                return Err(format!("node {node}: {topic:?} was refused: {code}"));
            }
            Event::RegisterFailed { name, code } => {
                return Err(format!("node {node}: {name} was refused: {code}"));
            }
            Event::Received(received) => {
                let topic = Subject::from(received.topic).text();
                let (payload, qos) = (received.payload.to_vec(), received.qos);
                if !self.wants(&topic) {
                    return Err(format!("node {node} got {topic}, which it never asked for"));
                }
                ledger.received(node, self.boot, &topic, &payload, qos)?;
            }
            Event::Disconnected { .. } => {
                self.online = false;
                self.online_at = Some(now + self.span(1, 90));
            }
            _ => {}
        }
        self.feed(ledger);
        Ok(true)
    }

    fn settle(&mut self, token: Token, standing: Standing, ledger: &mut Ledger) {
        let place = self.in_client.iter().position(|(it, _)| *it == token);
        if let Some(place) = place {
            let (_, seq) = self.in_client.remove(place);
            ledger.settled(self.index, seq, standing);
        }
    }

    fn go_online(&mut self, now: Instant) {
        match self.client.connect(now) {
            Ok(()) | Err(CommandError::Busy) => {}
            Err(error) => panic!("connect: {error}"),
        }
        self.online = true;
        if self.client.phase() == Phase::Disconnecting {
            self.online_at = Some(now + Duration::from_secs(5));
            return;
        }
        if let Some(duration_s) = self.plan.sleeps_s {
            self.client.sleep(u32::from(duration_s)).unwrap();
        }
        if self.granted.is_empty() {
            self.subscribe_all();
        }
    }

    fn subscribe_all(&mut self) {
        for (subject, qos) in self.wanted.clone() {
            self.subscribe(&subject, qos);
        }
    }

    fn subscribe(&mut self, subject: &Subject, qos: QoS) {
        self.client.subscribe(subject.topic(), qos).unwrap();
    }

    /// The power is cut for a moment: memory is lost, but for what the application keeps at
    /// QoS 1.
    fn reboot(&mut self, now: Instant, ledger: &mut Ledger) {
        ledger.taint(self.index);
        for (_, seq) in std::mem::take(&mut self.in_client).into_iter().rev() {
            match ledger.composed(self.index, seq).1 {
                QoS::AtLeastOnce => self.backlog.push_front(seq),
                _ => ledger.settled(self.index, seq, Standing::GivenUp),
            }
        }
        self.boot += 1;
        self.client = Client::new(self.config.clone(), self.rng.split()).unwrap();
        self.online_at = None;
        self.client.connect(now).unwrap();
        if let Some(duration_s) = self.plan.sleeps_s {
            self.client.sleep(u32::from(duration_s)).unwrap();
        }
        self.subscribe_all();
    }

    fn change_mood(&mut self, now: Instant) {
        match self.rng.below(6) {
            0 if self.client.disconnect().is_ok() => self.online = false,
            1 => {
                let _ = self.client.wake();
            }
            2 if self.online => {
                let _ = self.client.connect(now);
            }
            3 | 4 if self.online => {
                if let Some(duration_s) = self.plan.sleeps_s {
                    let duration_s = duration_s + u16::try_from(self.rng.below(30)).unwrap_or(0);
                    let _ = self.client.sleep(u32::from(duration_s));
                }
            }
            5 if self.plan.unsubscribes => {
                let count = u64::try_from(self.wanted.len()).unwrap_or(1);
                let place = usize::try_from(self.rng.below(count)).unwrap_or(0);
                let (subject, _) = self.wanted[place].clone();
                if self.client.unsubscribe(subject.topic()).is_ok() {
                    self.granted.remove(&subject.text());
                }
            }
            _ => {}
        }
    }

    fn compose(&mut self, ledger: &mut Ledger) {
        let qos = match self.rng.below(3) {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        let subject = match self.rng.below(4) {
            0 => Subject::Predefined(predefined_up(self.index).0),
            1 => Subject::Short(short(self.index, b'u')),
            2 => Subject::Name(format!("up/{}/a", self.index)),
            _ => Subject::Name(format!("up/{}/b", self.index)),
        };
        let seq = ledger.compose(self.index, subject, qos);
        self.backlog.push_back(seq);
    }

    /// Gives the client as much as it has room for.
    fn feed(&mut self, ledger: &mut Ledger) {
        while let Some(&seq) = self.backlog.front() {
            let padding = usize::try_from(self.rng.below(20)).unwrap_or(0);
            let payload = Ledger::up_payload(self.index, seq, padding);
            let (subject, qos) = ledger.composed(self.index, seq);
            match self.client.publish(subject.topic(), qos, false, &payload) {
                Ok(token) => {
                    self.in_client.push((token, seq));
                    ledger.handed(self.index, seq);
                    self.backlog.pop_front();
                }
                Err(CommandError::QueueFull | CommandError::TopicsFull) => return,
                Err(error) => panic!("publish: {error}"),
            }
        }
    }

    fn span(&mut self, from_s: u64, to_s: u64) -> Duration {
        Duration::from_secs(from_s + self.rng.below(to_s - from_s))
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("index", &self.index)
            .field("plan", &self.plan)
            .field("phase", &self.client.phase())
            .field("wanted", &self.wanted)
            .field("granted", &self.granted)
            .field("backlog", &self.backlog)
            .field("in_client", &self.in_client)
            .field("online", &self.online)
            .finish_non_exhaustive()
    }
}

fn take_due(at: &mut Option<Instant>, now: Instant) -> bool {
    at.take_if(|at| *at <= now).is_some()
}
