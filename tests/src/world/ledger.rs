//! What was published, what arrived, and what was promised in between.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use bytes::Bytes;
use gateway::session::{DeliveryId, DropReason, Publication};
use shared::wire::QoS;

use super::WorldConfig;
use super::subject::Subject;

/// The books of a world. Every method that finds a promise broken says so by its error.
pub(super) struct Ledger {
    uplinks: Vec<Vec<Uplink>>,
    downlinks: Vec<Downlink>,
    deliveries: BTreeMap<DeliveryId, usize>,
    /// The last publication that came for the first time, by node and topic.
    newest_up: BTreeMap<(u8, String), u32>,
    newest_down: BTreeMap<(u8, String), u32>,
    wills_due: Vec<u32>,
    wills: Vec<u32>,
    /// Whether the links let a publication at QoS 0 overtake, or be overtaken.
    reorders: bool,
    /// Whether copies of first transmissions may come after everything else of an exchange.
    late_copies: bool,
    pub(super) counts: Counts,
}

/// How much a run has checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Uplink publications at QoS 1 that arrived.
    pub up_1: u64,
    /// Uplink publications at QoS 2 that arrived.
    pub up_2: u64,
    /// Those of them that were held to exactly once: no reboot and no end of a clean session
    /// in the middle.
    pub up_2_strict: u64,
    /// Arrivals at QoS 1 beyond the first.
    pub up_repeated: u64,
    /// Downlink publications at QoS 1 and 2 that a node had to get, and got.
    pub down_owed: u64,
    /// Downlink publications at QoS 2 that arrived.
    pub down_2: u64,
    /// Downlink publications that were dropped with a notice.
    pub down_dropped: u64,
    /// Downlink publications that went with a clean session.
    pub down_wiped: u64,
    /// Publications at QoS 2 that came again by a copy that the network had held back.
    pub late_copies: u64,
    /// What the gateway told of silent nodes, and of those heard again.
    pub statuses: u64,
    /// Times that a link went down.
    pub link_outages: u64,
    /// Times that the gateway stood still.
    pub stalls: u64,
    /// Sleepers that were heard elsewhere when they woke, and nodes that connected elsewhere.
    pub moves: u64,
    /// Nodes sent off for an outage of the upstream.
    pub sent_off: u64,
    /// Datagrams to nodes that waited for a slow link.
    pub queued: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.up_1 += other.up_1;
        self.up_2 += other.up_2;
        self.up_2_strict += other.up_2_strict;
        self.up_repeated += other.up_repeated;
        self.down_owed += other.down_owed;
        self.down_2 += other.down_2;
        self.down_dropped += other.down_dropped;
        self.down_wiped += other.down_wiped;
        self.late_copies += other.late_copies;
        self.statuses += other.statuses;
        self.link_outages += other.link_outages;
        self.stalls += other.stalls;
        self.moves += other.moves;
        self.sent_off += other.sent_off;
        self.queued += other.queued;
    }
}

/// What has become of an uplink publication at its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It waits in the application or in its client.
    Waiting,
    /// The client has reported it as done.
    Published,
    /// The application gave it up with a reboot.
    GivenUp,
}

struct Uplink {
    subject: Subject,
    topic: String,
    qos: QoS,
    standing: Standing,
    handed: bool,
    /// Whether the session or the node's memory was lost while it was under way.
    tainted: bool,
    arrivals: u32,
}

struct Downlink {
    topic: String,
    qos: QoS,
    octets: usize,
    given: bool,
    acknowledged: bool,
    /// Who must get it, and at which QoS.
    owed: BTreeMap<u8, QoS>,
    /// Who need not any more.
    excused: BTreeSet<u8>,
    /// Who got it, and in which boots.
    received: BTreeMap<u8, Vec<u32>>,
}

pub(super) type Broken = String;

impl Ledger {
    pub(super) fn new(nodes: usize, config: &WorldConfig) -> Self {
        Self {
            uplinks: (0..nodes).map(|_| Vec::new()).collect(),
            downlinks: Vec::new(),
            deliveries: BTreeMap::new(),
            newest_up: BTreeMap::new(),
            newest_down: BTreeMap::new(),
            wills_due: vec![0; nodes],
            wills: vec![0; nodes],
            reorders: config.link.reorder_ppm > 0,
            late_copies: config.has_late_copies(),
            counts: Counts::default(),
        }
    }

    /// An application has something to publish; returns its sequence number.
    pub(super) fn compose(&mut self, node: u8, subject: Subject, qos: QoS) -> u32 {
        let list = &mut self.uplinks[usize::from(node)];
        list.push(Uplink {
            topic: subject.text(),
            subject,
            qos,
            standing: Standing::Waiting,
            handed: false,
            tainted: false,
            arrivals: 0,
        });
        u32::try_from(list.len() - 1).unwrap()
    }

    pub(super) fn composed(&self, node: u8, seq: u32) -> (Subject, QoS) {
        let uplink = &self.uplinks[usize::from(node)][seq as usize];
        (uplink.subject.clone(), uplink.qos)
    }

    pub(super) fn up_payload(node: u8, seq: u32, padding: usize) -> Vec<u8> {
        let mut payload = vec![b'U', node];
        payload.extend(seq.to_be_bytes());
        payload.resize(payload.len() + padding, b'.');
        payload
    }

    pub(super) fn will_payload(node: u8) -> [u8; 2] {
        [b'W', node]
    }

    pub(super) fn handed(&mut self, node: u8, seq: u32) {
        self.uplink(node, seq).handed = true;
    }

    pub(super) fn settled(&mut self, node: u8, seq: u32, standing: Standing) {
        let uplink = self.uplink(node, seq);
        uplink.standing = standing;
        if standing == Standing::GivenUp {
            uplink.tainted = true;
        }
    }

    /// The node's session is gone, or its memory: exactly once cannot be had any more for what
    /// is under way.
    pub(super) fn taint(&mut self, node: u8) {
        for uplink in &mut self.uplinks[usize::from(node)] {
            uplink.tainted |= uplink.handed && uplink.standing == Standing::Waiting;
        }
    }

    pub(super) fn will_due(&mut self, node: u8) {
        self.wills_due[usize::from(node)] += 1;
    }

    /// A publication has reached the broker.
    pub(super) fn arrived(&mut self, publication: &Publication) -> Result<(), Broken> {
        match *publication.payload {
            [b'W', node] => self.will_arrived(node),
            [b'{', ..] => self.status_arrived(publication),
            [b'U', node, a, b, c, d, ..] => {
                self.uplink_arrived(node, u32::from_be_bytes([a, b, c, d]), publication)
            }
            _ => Err(format!("the broker got what nobody sent: {publication:?}")),
        }
    }

    fn will_arrived(&mut self, node: u8) -> Result<(), Broken> {
        let index = usize::from(node);
        self.wills[index] += 1;
        if self.wills[index] > self.wills_due[index] {
            return Err(format!("a will of node {node}, which was not lost"));
        }
        Ok(())
    }

    /// The gateway tells of a node that must be heard now and then.
    fn status_arrived(&mut self, publication: &Publication) -> Result<(), Broken> {
        self.counts.statuses += 1;
        let levels: Vec<&str> = publication.topic.split('/').collect();
        match *levels {
            ["sandgrouse", "node", _, "status"] if publication.retain => Ok(()),
            _ => Err(format!("a status came as {publication:?}")),
        }
    }

    fn uplink_arrived(&mut self, node: u8, seq: u32, got: &Publication) -> Result<(), Broken> {
        let reorders = self.reorders;
        let uplink = self.uplink(node, seq);
        if *got.topic != *uplink.topic || got.qos != uplink.qos {
            let (topic, qos) = (&uplink.topic, uplink.qos);
            return Err(format!(
                "{node}/{seq} was published as {topic} {qos:?}, arrived as {} {:?}",
                got.topic, got.qos
            ));
        }
        uplink.arrivals += 1;
        let (first, tainted, qos) = (uplink.arrivals == 1, uplink.tainted, uplink.qos);
        if !first {
            self.counts.up_repeated += 1;
            if qos != QoS::ExactlyOnce || tainted {
                return Ok(());
            }
            return self.copied(format!("QoS 2 publication {node}/{seq} arrived again"));
        }
        match qos {
            QoS::AtLeastOnce => self.counts.up_1 += 1,
            QoS::ExactlyOnce => self.counts.up_2 += 1,
            _ => {}
        }
        if qos == QoS::ExactlyOnce && !tainted {
            self.counts.up_2_strict += 1;
        }
        if tainted || (reorders && qos == QoS::AtMostOnce) {
            return Ok(());
        }
        let newest = self.newest_up.entry((node, got.topic.to_string()));
        let newest = newest.or_insert(seq);
        if *newest > seq {
            return Err(format!(
                "{node}/{seq} came after {node}/{newest} on {}",
                got.topic
            ));
        }
        *newest = seq;
        Ok(())
    }

    /// Returns the topic of what the engine sends to a node.
    pub(super) fn topic_of(&self, payload: &[u8]) -> Option<&str> {
        let [b'D', a, b, c, d, ..] = *payload else {
            return None;
        };
        let id = u32::from_be_bytes([a, b, c, d]) as usize;
        Some(&self.downlinks.get(id)?.topic)
    }

    /// Someone is about to publish for nodes; returns the payload.
    pub(super) fn announce(&mut self, topic: &str, qos: QoS, padding: usize) -> Bytes {
        let id = u32::try_from(self.downlinks.len()).unwrap();
        let mut payload = vec![b'D'];
        payload.extend(id.to_be_bytes());
        payload.resize(payload.len() + padding, b'.');
        self.downlinks.push(Downlink {
            topic: topic.to_owned(),
            qos,
            octets: payload.len(),
            given: false,
            acknowledged: false,
            owed: BTreeMap::new(),
            excused: BTreeSet::new(),
            received: BTreeMap::new(),
        });
        payload.into()
    }

    /// The broker sends the publication announced last.
    pub(super) fn sent(&mut self, qos: QoS, id: Option<DeliveryId>) {
        let index = self.downlinks.len() - 1;
        self.downlinks[index].qos = qos;
        if let Some(id) = id {
            self.deliveries.insert(id, index);
        }
    }

    /// The engine is about to be given a publication that these nodes have subscribed to.
    pub(super) fn given(&mut self, publication: &Publication, owed: BTreeMap<u8, QoS>) {
        let [b'D', a, b, c, d, ..] = *publication.payload else {
            panic!("the broker's publications are announced");
        };
        let downlink = &mut self.downlinks[u32::from_be_bytes([a, b, c, d]) as usize];
        downlink.given = true;
        downlink.owed = owed
            .into_iter()
            .map(|(node, granted)| (node, granted.min(publication.qos)))
            .filter(|(_, qos)| *qos != QoS::AtMostOnce)
            .collect();
    }

    /// The engine says that it has dropped something for a node.
    pub(super) fn dropped(&mut self, node: u8, reason: DropReason, octets: usize) {
        let of_the_mailbox = matches!(
            reason,
            DropReason::MailboxFull
                | DropReason::MailboxAge
                | DropReason::MailboxExpired
                | DropReason::TooLongAgain
                | DropReason::Profile
                | DropReason::Unacknowledged
                | DropReason::NodeRefused
                | DropReason::TooLong
                | DropReason::TopicTableFull
        );
        if !of_the_mailbox {
            return;
        }
        let missing = self
            .downlinks
            .iter_mut()
            .find(|it| it.octets == octets && it.is_missing_at(node));
        if let Some(downlink) = missing {
            downlink.excused.insert(node);
            self.counts.down_dropped += 1;
        }
    }

    /// A node's session has ended with all that waited for it.
    pub(super) fn wiped(&mut self, node: u8) {
        self.taint(node);
        for downlink in &mut self.downlinks {
            if downlink.is_missing_at(node) {
                downlink.excused.insert(node);
                self.counts.down_wiped += 1;
            }
        }
    }

    /// An application has been given a publication.
    pub(super) fn received(
        &mut self,
        node: u8,
        boot: u32,
        topic: &str,
        payload: &[u8],
        qos: QoS,
    ) -> Result<(), Broken> {
        let [b'D', a, b, c, d, ..] = *payload else {
            return Err(format!("node {node} got what nobody sent: {payload:?}"));
        };
        let id = u32::from_be_bytes([a, b, c, d]);
        let reorders = self.reorders;
        let Some(downlink) = self.downlinks.get_mut(id as usize) else {
            return Err(format!("node {node} got what nobody sent: {payload:?}"));
        };
        if downlink.topic != topic || downlink.octets != payload.len() || qos > downlink.qos {
            return Err(format!(
                "node {node} got {id} as {topic} {qos:?}, it was sent as {} {:?}",
                downlink.topic, downlink.qos
            ));
        }
        let boots = downlink.received.entry(node).or_default();
        boots.push(boot);
        let in_this_boot = boots[..boots.len() - 1].contains(&boot);
        if qos == QoS::ExactlyOnce && in_this_boot {
            return self.copied(format!("node {node} got QoS 2 publication {id} again"));
        }
        if boots.len() > 1 {
            return Ok(());
        }
        if qos == QoS::ExactlyOnce {
            self.counts.down_2 += 1;
        }
        if downlink.owed.contains_key(&node) {
            self.counts.down_owed += 1;
        }
        if downlink.excused.contains(&node) || (reorders && qos == QoS::AtMostOnce) {
            return Ok(());
        }
        let newest = self
            .newest_down
            .entry((node, topic.to_owned()))
            .or_insert(id);
        if *newest > id {
            return Err(format!("node {node} got {id} after {newest} on {topic}"));
        }
        *newest = id;
        Ok(())
    }

    /// A QoS 2 publication has come twice: broken, but where the network copies a first
    /// transmission and holds the copy back until the exchange is over. Nothing tells it from
    /// a new publication under the same message id then.
    fn copied(&mut self, broken: Broken) -> Result<(), Broken> {
        self.counts.late_copies += 1;
        if self.late_copies {
            Ok(())
        } else {
            Err(broken)
        }
    }

    /// The engine has the broker's delivery acknowledged.
    pub(super) fn acknowledged(&mut self, id: DeliveryId) -> Result<(), Broken> {
        let Some(index) = self.deliveries.get(&id) else {
            return Err(format!("{id:?} was acknowledged, which was never sent"));
        };
        let downlink = &mut self.downlinks[*index];
        if downlink.acknowledged || !downlink.given {
            return Err(format!(
                "{id:?} was acknowledged twice, or before it was given"
            ));
        }
        downlink.acknowledged = true;
        match downlink
            .owed
            .keys()
            .find(|node| downlink.is_missing_at(**node))
        {
            Some(node) => Err(format!(
                "publication {index} ({id:?}, {}) was acknowledged without node {node}",
                downlink.topic
            )),
            None => Ok(()),
        }
    }

    /// Everything has come to rest: nothing may be owed any more.
    pub(super) fn close(&self) -> Result<(), Broken> {
        for (node, list) in self.uplinks.iter().enumerate() {
            for (seq, uplink) in list.iter().enumerate() {
                let sure = uplink.qos != QoS::AtMostOnce;
                if uplink.standing == Standing::Waiting {
                    return Err(format!("{node}/{seq} still waits at its node"));
                }
                if sure && uplink.standing == Standing::Published && uplink.arrivals == 0 {
                    return Err(format!(
                        "{node}/{seq} was reported as done and never arrived"
                    ));
                }
            }
        }
        for (id, index) in &self.deliveries {
            if !self.downlinks[*index].acknowledged {
                return Err(format!(
                    "publication {index} ({id:?}) was never acknowledged"
                ));
            }
        }
        Ok(())
    }

    /// Returns who is still owed the publications announced from `first` on.
    pub(super) fn missing_since(&self, first: usize) -> Option<(usize, u8)> {
        let recent = self.downlinks.iter().enumerate().skip(first);
        recent
            .filter_map(|(id, it)| {
                let node = it.owed.keys().find(|node| it.is_missing_at(**node))?;
                Some((id, *node))
            })
            .next()
    }

    pub(super) fn downlinks_len(&self) -> usize {
        self.downlinks.len()
    }

    pub(super) fn has_received(&self, id: usize, node: u8) -> bool {
        self.downlinks[id].received.contains_key(&node)
    }

    fn uplink(&mut self, node: u8, seq: u32) -> &mut Uplink {
        &mut self.uplinks[usize::from(node)][seq as usize]
    }
}

impl Downlink {
    fn is_missing_at(&self, node: u8) -> bool {
        self.owed.contains_key(&node)
            && !self.excused.contains(&node)
            && !self.received.contains_key(&node)
    }
}

#[cfg(test)]
mod tests;
