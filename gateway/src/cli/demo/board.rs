//! The simulated board of one node, and the node on it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::rc::Rc;

use anyhow::{Context as _, anyhow};
use app::record::{Kind, Record};
use app::settings::SETTINGS_RECORD_LEN_MAX;
use app::{Clock, Node, Parts, Power, Sample, Sensor, Settings, Storage};
use shared::rng::Rng;
use shared::time::{Duration, Instant};

use super::air::{Air, AirRadio};
use super::stage::Stage;

/// What one node is started with.
pub(super) struct Board {
    pub(super) stage: Rc<Stage>,
    pub(super) air: Rc<Air>,
    pub(super) settings: Settings,
    pub(super) start_at: Instant,
    pub(super) rng: Rng,
}

impl Board {
    /// Runs the node; returns only if it cannot go on, and why.
    pub(super) async fn live(self) -> anyhow::Error {
        match self.try_live().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn try_live(self) -> anyhow::Result<Infallible> {
        let node = self.air.node();
        let name = self.stage.name(node).to_owned();
        tokio::select! {
            () = self.stage.sleep_until(self.start_at) => {}
            () = self.stage.ending() => self.stage.rest().await,
        }
        let storage = Memory::with(&self.settings).context("the node's settings")?;
        let mut node = Node::start(Parts {
            radio: AirRadio(self.air.clone()),
            storage,
            sensor: Thermometer::new(self.rng),
            power: Battery {
                stage: self.stage.clone(),
                node,
            },
            clock: BoardClock {
                stage: self.stage.clone(),
                start: self.stage.now(),
            },
        })
        .await
        .with_context(|| format!("node {name} cannot start"))?;
        match node.run().await {
            Ok(_) => Err(anyhow!("node {name} stopped, although no limit was set")),
            Err(error) => Err(anyhow!(error).context(format!("node {name} stopped"))),
        }
    }
}

/// Returns the settings of the node `name`: the defaults, with the demo's pace.
pub(super) fn settings(name: &str, interval_s: u32, rng: &mut Rng) -> anyhow::Result<Settings> {
    let sleep_s = interval_s.saturating_mul(SLEEP_INTERVALS).max(SLEEP_S_MIN);
    let settings = Settings {
        interval_s,
        sleep_s: u16::try_from(sleep_s).unwrap_or(u16::MAX),
        retry_ms: u32::try_from(T_RETRY.as_millis()).unwrap_or(u32::MAX),
        retries: N_RETRY,
        // 0 would mean: from the name.
        seed: rng.next_u64().max(1),
        ..Settings::new(name)?
    };
    settings.validate()?;
    Ok(settings)
}

/// Records in memory: the boards' flash, without loss of power.
struct Memory(HashMap<Kind, Vec<u8>>);

impl Memory {
    fn with(settings: &Settings) -> anyhow::Result<Self> {
        let mut buf = [0; SETTINGS_RECORD_LEN_MAX];
        let len = settings.to_record(&mut buf)?;
        let record = Record::parse(Kind::Settings, &buf[..len]).map_err(|error| anyhow!(error))?;
        Ok(Self(HashMap::from([(
            Kind::Settings,
            record.payload.to_vec(),
        )])))
    }
}

impl Storage for Memory {
    type Error = Infallible;

    async fn load(&mut self, kind: Kind, buf: &mut [u8]) -> Result<Option<usize>, Infallible> {
        let Some(record) = self.0.get(&kind) else {
            return Ok(None);
        };
        Ok(buf.get_mut(..record.len()).map(|place| {
            place.copy_from_slice(record);
            record.len()
        }))
    }

    async fn save(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Infallible> {
        self.0.insert(kind, payload.to_vec());
        Ok(())
    }
}

/// A temperature that drifts, and a battery that runs down.
struct Thermometer {
    rng: Rng,
    value_milli: i32,
    battery_mv: u16,
}

impl Thermometer {
    fn new(mut rng: Rng) -> Self {
        Self {
            value_milli: MILLIDEGREES_MIN + draw(&mut rng, MILLIDEGREES_SPAN),
            battery_mv: BATTERY_FULL_MV,
            rng,
        }
    }
}

impl Sensor for Thermometer {
    type Error = Infallible;

    async fn sample(&mut self) -> Result<Sample, Infallible> {
        self.value_milli += draw(&mut self.rng, 2 * MILLIDEGREES_STEP + 1) - MILLIDEGREES_STEP;
        if self.rng.chance_ppm(BATTERY_DROP_PPM) {
            self.battery_mv = self.battery_mv.saturating_sub(1).max(BATTERY_EMPTY_MV);
        }
        Ok(Sample {
            value_milli: self.value_milli,
            battery_mv: self.battery_mv,
        })
    }
}

fn draw(rng: &mut Rng, bound: i32) -> i32 {
    let bound = u64::try_from(bound).unwrap_or(0);
    i32::try_from(rng.below(bound)).unwrap_or(0)
}

/// Sleeps, and at the end of the demo stays asleep.
struct Battery {
    stage: Rc<Stage>,
    node: usize,
}

impl Power for Battery {
    async fn sleep(&mut self, span: Duration) {
        self.stage.fell_asleep(self.node, span);
        let wake = self.stage.now() + span;
        tokio::select! {
            () = self.stage.sleep_until(wake) => self.stage.woke(self.node),
            () = self.stage.ending() => self.stage.rest().await,
        }
    }
}

/// The time since the node was switched on.
struct BoardClock {
    stage: Rc<Stage>,
    start: Instant,
}

impl Clock for BoardClock {
    fn now(&self) -> Instant {
        Instant::ZERO + self.stage.now().since(self.start)
    }

    async fn wait_until(&self, deadline: Instant) {
        let deadline = self.start + deadline.since(Instant::ZERO);
        self.stage.sleep_until(deadline).await;
    }
}

/// How long an answer is awaited on both sides: the link takes below 60 ms there and back.
pub(super) const T_RETRY: Duration = Duration::from_millis(400);

/// How often a message is repeated: with a fifth of the frames lost, one exchange of 460 fails
/// for good.
pub(super) const N_RETRY: u8 = 5;

/// A node is missed when it has left out this many intervals.
const SLEEP_INTERVALS: u32 = 4;

/// Leaves room for an `interval` command to a node that reports every second.
const SLEEP_S_MIN: u32 = 30;

/// Between 8 and 24 °C at the start.
const MILLIDEGREES_MIN: i32 = 8_000;
const MILLIDEGREES_SPAN: i32 = 16_000;
const MILLIDEGREES_STEP: i32 = 60;

const BATTERY_FULL_MV: u16 = 3_600;
const BATTERY_EMPTY_MV: u16 = 3_000;
const BATTERY_DROP_PPM: u32 = 250_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_valid_at_any_interval() {
        let mut rng = Rng::new(1);
        for interval_s in [1, 3, 3600, *app::settings::INTERVAL_S.end()] {
            let settings = settings("pump-1", interval_s, &mut rng).unwrap();
            assert_eq!(settings.interval_s, interval_s);
            assert!(u32::from(settings.sleep_s) >= interval_s.min(65_535));
        }
    }

    #[tokio::test]
    async fn the_node_finds_its_settings_in_memory() {
        let written = settings("well-2", 3, &mut Rng::new(1)).unwrap();
        let mut memory = Memory::with(&written).unwrap();
        assert_eq!(Settings::load(&mut memory).await, Ok(written));
        let mut buf = [0; 16];
        assert_eq!(memory.load(Kind::State, &mut buf).await, Ok(None));
        memory.save(Kind::State, b"state").await.unwrap();
        assert_eq!(memory.load(Kind::State, &mut buf).await, Ok(Some(5)));
        assert_eq!(&buf[..5], b"state");
    }
}
