//! `sandgrouse demo`: the gateway, its broker and simulated nodes over a bad link, to watch.
//!
//! ```text
//!   app::Node ──radio──► FaultLink ──UDP──► gateway ──► embedded broker ──► operator
//!             ◄───────── FaultLink ◄─UDP───         ◄──                ◄── (commands)
//! ```
//!
//! Only the radios, the sensors and the batteries are simulated. The nodes run the
//! application that runs on the boards, the gateway is the one that `run` starts, and
//! everything passes a real socket. All of it is told to the [`Stage`](stage::Stage), which
//! keeps the books and shows a line for each message.

mod air;
mod board;
mod event;
mod ledger;
mod operator;
mod stage;
mod summary;
mod view;

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration as StdDuration;

use anyhow::{Context as _, anyhow};
use shared::rng::Rng;
use shared::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet, LocalSet};
use tokio::time::timeout;

use super::logging::{self, LogArgs};
use crate::config::{
    Config, GatewayConfig, LinkConfig, LinkKind, LogConfig, UdpConfig, parse_duration,
};
use crate::driver::{Gateway, RunError};
use crate::session::Stats;
use air::Air;
use board::Board;
use event::Start;
use operator::Operator;
use stage::Stage;
use view::View;

/// The arguments of `sandgrouse demo`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DemoArgs {
    /// Ends after this time; without it Ctrl-C does
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    runs_for: Option<Duration>,

    /// How many nodes are simulated
    #[arg(long, value_name = "COUNT", default_value_t = 5,
        value_parser = clap::value_parser!(u16).range(1..=NODES_MAX))]
    nodes: u16,

    /// How many of a hundred frames the link loses, each way
    #[arg(long, value_name = "PERCENT", default_value_t = 20,
        value_parser = clap::value_parser!(u8).range(0..=LOSS_MAX))]
    loss: u8,

    /// The time from one reading of a node to its next, in whole seconds
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = interval_s)]
    interval: u32,

    /// Makes the choices of another run again: what is lost, measured and commanded
    ///
    /// Time is real, so which frame meets which fate may still differ by chance.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Shows every message on the air as well, acknowledgements and pings included
    #[arg(long)]
    air: bool,

    /// Writes one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogArgs,
}

/// Runs the demo; fails where a publication that was acknowledged did not arrive.
pub(super) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    // The view is what there is to see: the gateway's log speaks only of what is wrong.
    let quiet = LogConfig {
        level: "warn".to_owned(),
        ..LogConfig::default()
    };
    logging::init(&args.log, &quiet)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // The gateway has the worker threads. The nodes, the operator and the view share this one,
    // as their futures need not be Send; a terminal that is held up so holds the nodes only.
    let outcome = LocalSet::new().block_on(&runtime, play(args));
    runtime.shutdown_timeout(RUNTIME_END_MAX);
    outcome
}

async fn play(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let served = Served::start().await?;
    let chosen = || RandomState::new().hash_one(std::process::id()) % SEEDS;
    let seed = args.seed.unwrap_or_else(chosen);
    let names = node_names(args.nodes);
    let stage = Stage::new(names.clone(), View::new(args.json, args.air));
    stage.open(&Start {
        broker: served.broker,
        link: served.link,
        nodes: names,
        loss_percent: args.loss,
        interval_s: args.interval,
        seed,
    });
    let mut rng = Rng::new(seed);
    let mut troupe = Troupe::enter(args, &stage, &served, &mut rng).await?;
    let cause = tokio::select! {
        () = signals.next() => Ok(()),
        () = after(args.runs_for) => Ok(()),
        () = stage.unwatched() => Ok(()),
        failure = troupe.failed() => Err(failure),
    };
    tokio::select! {
        () = troupe.leave(&stage, served) => {}
        () = signals.next() => return Ok(ExitCode::from(INTERRUPTED)),
    }
    cause?;
    Ok(match stage.close() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The gateway at work, and where it is to be reached.
struct Served {
    link: SocketAddr,
    broker: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Stats>,
}

impl Served {
    async fn start() -> anyhow::Result<Self> {
        let gateway = match Gateway::start(&config(BROKER_PORT)).await {
            // Someone's own broker, or a gateway that serves already: the demo leaves it alone.
            // One that is started at the same time fails otherwise than by AddressInUse.
            Err(RunError::Broker(_)) => Gateway::start(&config(ANY_PORT)).await?,
            started => started?,
        };
        let link = gateway.links().first().and_then(|it| it.local_address());
        let (stop, stopped) = oneshot::channel();
        Ok(Self {
            link: link.context("the link has no address")?,
            broker: gateway.broker_addr().context("the broker does not run")?,
            stop,
            task: tokio::spawn(gateway.run(async {
                let _ = stopped.await;
            })),
        })
    }

    async fn end(self) {
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the gateway did not stop in order");
        }
    }
}

/// Everyone who plays against the gateway.
struct Troupe {
    operator: Operator,
    nodes: JoinSet<anyhow::Error>,
    airs: JoinSet<()>,
}

impl Troupe {
    async fn enter(
        args: &DemoArgs,
        stage: &Rc<Stage>,
        served: &Served,
        rng: &mut Rng,
    ) -> anyhow::Result<Self> {
        let operator = Operator::connect(stage.clone(), served.broker, args.interval, rng.split());
        let operator = timeout(CONNECT_MAX, operator)
            .await
            .map_err(|_| anyhow!("the embedded broker does not answer"))??;
        let (mut nodes, mut airs) = (JoinSet::new(), JoinSet::new());
        // The wakes are spread, so that the nodes speak one after the other.
        let stagger = Duration::from_secs(u64::from(args.interval)).min(START_SPREAD_MAX);
        for index in 0..usize::from(args.nodes) {
            let profile = air::profile(args.loss);
            let air = Air::open(stage.clone(), index, served.link, profile, rng).await?;
            let settings = board::settings(stage.name(index), args.interval, rng)?;
            let nth = u64::try_from(index).unwrap_or(u64::MAX);
            let board = Board {
                stage: stage.clone(),
                air: air.clone(),
                settings,
                start_at: stage.now()
                    + Duration::from_millis(
                        stagger.as_millis() * nth / u64::from(args.nodes.max(1)),
                    ),
                rng: rng.split(),
            };
            airs.spawn_local(async move { air.carry().await });
            nodes.spawn_local(board.live());
        }
        Ok(Self {
            operator,
            nodes,
            airs,
        })
    }

    /// Returns why the demo cannot go on, once it cannot.
    async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            error = self.operator.failed() => error,
            Some(ended) = self.nodes.join_next() => ended.unwrap_or_else(Into::into),
        }
    }

    /// Lets the nodes finish what they are saying, and then the gateway.
    async fn leave(mut self, stage: &Stage, served: Served) {
        stage.begin_end();
        self.operator.fall_silent();
        let _ = timeout(NODES_END_MAX, stage.all_rest()).await;
        self.nodes.shutdown().await;
        // What was acknowledged is the broker's by now, and only has to be read from it.
        let _ = timeout(ARRIVAL_MAX, stage.all_arrived()).await;
        self.operator.leave().await;
        served.end().await;
        self.airs.shutdown().await;
    }
}

/// SIGINT and SIGTERM: the first ends the demo in order, the second at once.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Returns the defaults, but for the addresses, which leave room for other gateways, and for
/// the clock of the simulated radio.
fn config(broker_port: u16) -> Config {
    let mut config = Config {
        gateway: GatewayConfig {
            client_id: "sandgrouse-demo".to_owned(),
            ..GatewayConfig::default()
        },
        links: vec![LinkConfig {
            name: "radio".to_owned(),
            t_retry: board::T_RETRY,
            n_retry: board::N_RETRY,
            kind: LinkKind::Udp(UdpConfig {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, ANY_PORT)),
                ..UdpConfig::default()
            }),
            ..LinkConfig::default()
        }],
        ..Config::default()
    };
    config.broker.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, broker_port));
    config
}

fn node_names(count: u16) -> Vec<String> {
    let places = PLACES.iter().cycle();
    (1..=count)
        .zip(places)
        .map(|(number, place)| format!("{place}-{number}"))
        .collect()
}

async fn after(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep(StdDuration::from_millis(span.as_millis())).await,
        None => std::future::pending().await,
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|span| *span > Duration::ZERO)
        .ok_or_else(|| "a whole number and its unit: 30s, 5m, 2h".to_owned())
}

fn interval_s(text: &str) -> Result<u32, String> {
    parse_duration(text)
        .map(Duration::as_millis)
        .filter(|millis| millis.is_multiple_of(1000))
        .and_then(|millis| u32::try_from(millis / 1000).ok())
        .filter(|seconds| app::settings::INTERVAL_S.contains(seconds))
        .ok_or_else(|| "whole seconds, from 1s to 7d".to_owned())
}

/// Where nodes stand that have to live on a battery.
const PLACES: [&str; 5] = ["pump", "well", "tank", "gauge", "valve"];

/// Where the seed is not given it is below this, so that a person can type it again.
const SEEDS: u64 = 1_000_000;

/// Where people and tools look for a broker first.
const BROKER_PORT: u16 = 1883;

/// Lets the system choose.
const ANY_PORT: u16 = 0;

/// More lines than anyone reads, and a thread that still keeps up.
const NODES_MAX: i64 = 100;

/// Above it hardly an exchange of two messages succeeds (1 in 100 at 90 %).
const LOSS_MAX: i64 = 90;

/// The nodes start within this time, so that there is something to see at once.
const START_SPREAD_MAX: Duration = Duration::from_secs(3);

/// How long the operator waits for the broker of the same process.
const CONNECT_MAX: StdDuration = StdDuration::from_secs(5);

/// How long the nodes have, at the end, to finish what they are saying.
const NODES_END_MAX: StdDuration = StdDuration::from_secs(3);

/// How long, at the end, the broker has to hand over what it has.
const ARRIVAL_MAX: StdDuration = StdDuration::from_secs(3);

/// How long the runtime waits for threads when all is over.
const RUNTIME_END_MAX: StdDuration = StdDuration::from_secs(1);

/// What shells expect of a program that an interrupt has ended: 128 and the signal.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  sandgrouse demo
  sandgrouse demo --for 30s --loss 40
  sandgrouse demo --nodes 1 --air --interval 10s
  sandgrouse demo --for 1m --seed 7 --json > demo.jsonl

The first lines say where the broker listens, so that other MQTT tools can join in. The exit
code is 1 where a publication that the gateway acknowledged did not arrive at the broker.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_valid_client_ids() {
        let names = node_names(100);
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), 100);
        assert_eq!(names[..2], ["pump-1", "well-2"]);
        for name in names {
            let settings = app::Settings::new(&name).unwrap();
            settings.validate().unwrap();
        }
    }

    #[test]
    fn intervals_are_whole_seconds() {
        assert_eq!(interval_s("3s"), Ok(3));
        assert_eq!(interval_s("2000ms"), Ok(2));
        assert_eq!(interval_s("2m"), Ok(120));
        for wrong in ["", "3", "1500ms", "0s", "8d", "-1s"] {
            assert!(interval_s(wrong).is_err(), "{wrong}");
        }
    }
}
