//! Nodes that share one lossy serial radio.

use std::time::{Duration, Instant};

use ::tests::{
    Launch, Mosquitto, MosquittoOptions, MqttProbe, ProbeOptions, Profile, Received, Sandgrouse,
    config,
};
use anyhow::{Context, Result, ensure};
use app::Settings;
use app::payload::{Outcome, Reading, Status};
use app::settings::RadioSettings;
use shared::rng::Rng;
use shared::wire::NodeId;

use super::{Progress, Scenario, Setup};
use crate::judge::{NodeEnd, NodeRecord, Recording};
use crate::rig::{NodePlan, Rig, SerialLine};

/// Nodes on one serial radio that loses a fifth of its frames: each sends its readings at
/// QoS 1 and sleeps between them, and a command goes down to each.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossySerial;

impl Scenario for LossySerial {
    fn name(&self) -> &'static str {
        "lossy-serial"
    }

    fn about(&self) -> &'static str {
        "nodes share a serial radio that loses 20 % of all frames, singly and in bursts; every \
         reading arrives in order, every command is carried out"
    }

    fn play(
        &self,
        rig: &mut dyn Rig,
        setup: &Setup,
        progress: &mut Progress<'_>,
    ) -> Result<Recording> {
        let plans = plans(setup)?;
        let line = rig.open(&plans)?;
        let broker = Mosquitto::start(MosquittoOptions::default())?;
        let probe = MqttProbe::start(ProbeOptions::new(&broker, &["readings/#", "status/#"]))?;
        let mut gateway = Sandgrouse::start(Launch {
            config_toml: format!("{}{}", config::upstream(&broker), serial_link(&line)),
            udp_port: None,
            profile: Profile::Release,
        })?;
        rig.start()?;
        let mut watch = Watch::new(&plans, setup, &probe);
        let watched = watch.until_done(rig, progress);
        let ended = gateway.process().try_wait()?;
        watched?;
        ensure!(
            ended.is_none(),
            "the gateway ended before the nodes did\n{}",
            gateway.process().log().tail(LOG_LINES)
        );
        let mut recording = watch.recording(rig)?;
        recording.gateway_log = gateway.process().log().tail(LOG_LINES);
        Ok(recording)
    }
}

/// Watches a run and sends each node its command.
struct Watch<'a> {
    setup: &'a Setup,
    probe: &'a MqttProbe,
    names: Vec<String>,
    commanded: Vec<Option<u32>>,
    start: Instant,
}

/// What a publication was, whoever it was from.
enum Seen {
    Reading(u32),
    Confirmed(u32),
    Other,
}

impl<'a> Watch<'a> {
    fn new(plans: &[NodePlan], setup: &'a Setup, probe: &'a MqttProbe) -> Self {
        Self {
            setup,
            probe,
            names: plans.iter().map(|plan| plan.name().to_owned()).collect(),
            commanded: vec![None; plans.len()],
            start: Instant::now(),
        }
    }

    /// Waits until every node has ended and everything has come, or the time is up.
    fn until_done(&mut self, rig: &mut dyn Rig, progress: &mut Progress<'_>) -> Result<()> {
        let limit = INTERVAL * self.setup.readings * 3 + SLACK;
        let mut reported = Instant::now();
        let mut ended = None;
        loop {
            let nodes = self.records(rig)?;
            self.command(rig, &nodes)?;
            if reported.elapsed() >= PROGRESS_EVERY {
                reported = Instant::now();
                progress(self.start.elapsed(), &line_of(&nodes))?;
            }
            if nodes.iter().all(is_complete) || self.start.elapsed() > limit {
                return Ok(());
            }
            // When all nodes have ended nothing more is sent; what is under way has a moment.
            if nodes.iter().all(|node| has_ended(&node.end)) {
                let since = *ended.get_or_insert_with(Instant::now);
                if since.elapsed() > SETTLING {
                    return Ok(());
                }
            }
            std::thread::sleep(POLL);
        }
    }

    /// Sends a node its command once it listens and is at work.
    fn command(&mut self, rig: &dyn Rig, nodes: &[NodeRecord]) -> Result<()> {
        let air = rig.air();
        for (index, node) in nodes.iter().enumerate() {
            let listens = match &air {
                Some(air) => air.get(index).is_some_and(|tally| tally.subscribed),
                None => true,
            };
            let at_work = node.arrived.len() * 4 >= self.setup.readings as usize;
            if self.commanded[index].is_some() || !listens || !at_work {
                continue;
            }
            let id = COMMAND_ID_FIRST + u32::try_from(index)?;
            let topic = format!("cmd/{}", node.name);
            let text = format!("#{id} led on");
            self.probe.publish(&topic, text.as_bytes(), 1, false)?;
            self.commanded[index] = Some(id);
        }
        Ok(())
    }

    fn recording(&self, rig: &mut dyn Rig) -> Result<Recording> {
        Ok(Recording {
            nodes: self.records(rig)?,
            rig_lost: rig.rig_lost(),
            gateway_log: String::new(),
        })
    }

    fn records(&self, rig: &mut dyn Rig) -> Result<Vec<NodeRecord>> {
        let ends = rig.ends()?;
        let air = rig.air();
        let received = self.probe.received();
        let records = self.names.iter().enumerate().map(|(index, name)| {
            let mut record = NodeRecord {
                name: name.clone(),
                readings_expected: self.setup.readings,
                // A command that was never sent was not carried out either.
                commands_sent: vec![COMMAND_ID_FIRST + u32::try_from(index)?],
                end: ends.get(index).cloned().unwrap_or_default(),
                air: air.as_ref().and_then(|air| air.get(index).cloned()),
                ..NodeRecord::default()
            };
            for one in &received {
                if one.topic.rsplit('/').next() != Some(name) {
                    continue;
                }
                match seen(one) {
                    Seen::Reading(number) => {
                        record.arrived.push(number);
                        record
                            .arrived_at
                            .push(one.at.saturating_duration_since(self.start));
                    }
                    Seen::Confirmed(id) => record.commands_confirmed.push(id),
                    Seen::Other => record.unreadable += 1,
                }
            }
            Ok(record)
        });
        records.collect()
    }
}

fn seen(one: &Received) -> Seen {
    if one.topic.starts_with("readings/") {
        return Reading::decode(&one.payload)
            .map_or(Seen::Other, |reading| Seen::Reading(reading.sequence));
    }
    match Status::decode(&one.payload) {
        Ok(status) if matches!(status.outcome, Outcome::Done | Outcome::Repeated) => {
            Seen::Confirmed(status.command_id)
        }
        _ => Seen::Other,
    }
}

fn is_complete(node: &NodeRecord) -> bool {
    let mut numbers = node.arrived.clone();
    numbers.sort_unstable();
    numbers.dedup();
    let commands_done = node
        .commands_sent
        .iter()
        .all(|id| node.commands_confirmed.contains(id));
    numbers.len() >= node.readings_expected as usize && commands_done && has_ended(&node.end)
}

const fn has_ended(end: &NodeEnd) -> bool {
    !matches!(end, NodeEnd::Unfinished)
}

fn line_of(nodes: &[NodeRecord]) -> String {
    let parts = nodes.iter().map(|node| {
        let retries = node.air.as_ref().map_or(0, |air| air.up_retries);
        format!(
            "{} {}/{} ({retries} retries{})",
            node.name,
            node.arrived.len(),
            node.readings_expected,
            if node.commands_confirmed.is_empty() {
                ""
            } else {
                ", command done"
            },
        )
    });
    parts.collect::<Vec<_>>().join("  ")
}

fn plans(setup: &Setup) -> Result<Vec<NodePlan>> {
    let mut rng = Rng::new(setup.seed);
    (1..=setup.nodes)
        .map(|number| {
            let name = format!("node-{number}");
            let base = Settings::new(&name).context("the node's name")?;
            let octets = [number];
            let settings = Settings {
                node_id: heapless::Vec::from_slice(&octets).ok(),
                interval_s: u32::try_from(INTERVAL.as_secs())?,
                sleep_s: SLEEP_S,
                retry_ms: RETRY_MS,
                retries: RETRIES,
                // 0 would mean "derive it from the name".
                seed: rng.next_u64() | 1,
                readings_limit: setup.readings,
                commands_awaited: 1,
                radio: RadioSettings::Serial { baud: 115_200 },
                ..base
            };
            let node_id = NodeId::new(&octets).context("the node id")?;
            Ok(NodePlan { node_id, settings })
        })
        .collect()
}

/// Returns the section of the gateway's only link.
fn serial_link(line: &SerialLine) -> String {
    format!(
        "[[link]]\nname = \"radio\"\ntype = \"serial\"\npath = \"{}\"\nbaud = {}\n\
         t_retry = \"{RETRY_MS}ms\"\nn_retry = {RETRIES}\n",
        line.path.display(),
        line.baud
    )
}

/// From one reading of a node to the next, the shortest that its settings take.
const INTERVAL: Duration = Duration::from_secs(1);
/// For how long a node tells the gateway at most that it sleeps, in seconds.
const SLEEP_S: u16 = 60;
/// T_retry of nodes and gateway, in milliseconds: a few round trips of the simulated radio,
/// which takes some 30 ms each way.
const RETRY_MS: u32 = 250;
/// N_retry of nodes and gateway. A request and its answer fail in 36 of 100 attempts.
const RETRIES: u8 = 5;
/// The first node's command id; the others' follow.
const COMMAND_ID_FIRST: u32 = 101;
/// What a run may take beside three times its intervals.
const SLACK: Duration = Duration::from_secs(20);
/// How long what is under way may take when all nodes have ended.
const SETTLING: Duration = Duration::from_secs(5);
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// Lines of the gateway's log that are kept for a failed run.
const LOG_LINES: usize = 30;
const POLL: Duration = Duration::from_millis(50);
