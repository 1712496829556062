//! The command line.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use shared::fault::{FaultProfile, PRESETS};
use shared::wire::QoS;

use crate::fairness::{self, Comparison};
use crate::interrupt::Interrupt;
use crate::load::{self, Measurement, Target};
use crate::report::{self, RunReport};
use crate::rig::{BenchPlan, BenchRig, Firmware, Rig, VirtualRig};
use crate::scenario::{self, Scenario, Setup};

/// Runs the real firmware against the real gateway, over simulated or real links.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the scenarios, the rigs and the links that can be simulated.
    List,
    /// Runs a scenario; exit code 0 if it passed with every seed, 1 if not, 2 if it could not run.
    Run(RunArgs),
    /// Loads a gateway with many UDP clients and prints what they saw and what it cost.
    Load(LoadArgs),
    /// Loads a gateway without and beside nodes that never answer, and compares; exit code 1 where
    /// the others wait more than twice as long.
    Fairness(FairnessArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The scenario, from `hil list`.
    scenario: String,
    /// The seed of the first run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many runs, each with the next seed.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many runs at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    jobs: u8,
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    nodes: u8,
    /// How many readings each node takes, one a second.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    readings: u32,
    /// Where the nodes are.
    #[arg(long, value_enum, default_value_t = RigName::Virtual)]
    rig: RigName,
    /// The simulated radio of the virtual rig, from `hil list`.
    #[arg(long, default_value = "lossy_serial")]
    air: String,
    /// A firmware for the virtual rig, instead of building one.
    #[arg(long, value_name = "ELF")]
    firmware: Option<PathBuf>,
    /// The boards and the radio of the bench rig, as TOML.
    #[arg(long, value_name = "FILE", required_if_eq("rig", "bench"))]
    bench: Option<PathBuf>,
    /// Says what would be done and checked, and does nothing.
    #[arg(long)]
    dry_run: bool,
    /// Prints the reports as JSON, one line for each run.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RigName {
    /// QEMU and a simulated radio.
    Virtual,
    /// Boards on serial ports and a real radio.
    Bench,
}

#[derive(Debug, Args)]
struct LoadArgs {
    /// How many clients, each with a socket of its own and one publication in flight.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    clients: u32,
    /// For how many seconds they publish.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// The quality of service.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    qos: u8,
    /// Octets of payload.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    payload: u16,
    /// The gateway's UDP address, on the loopback.
    #[arg(long, default_value = "127.0.0.1:10000", conflicts_with = "spawn")]
    gateway: SocketAddr,
    /// The gateway's process id, to measure its processor time and memory.
    #[arg(long, conflicts_with = "spawn")]
    pid: Option<u32>,
    /// Builds and starts a release gateway and a mosquitto for the measurement.
    #[arg(long)]
    spawn: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct FairnessArgs {
    /// How many clients publish, each with a socket of its own and one publication in flight.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    clients: u32,
    /// For how many seconds they publish, each time.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How many times without and beside the silent nodes, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
    /// How many milliseconds a client pauses between two publications; 0 loads the gateway fully.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pause_ms: u64,
    /// How many nodes subscribe and never answer.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    silent: u32,
    /// Publications a second to these, all together.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Does what the command line says; returns whether everything passed.
///
/// # Errors
/// What kept it from being done.
pub fn run(cli: &Cli) -> Result<bool> {
    match &cli.command {
        Command::List => {
            print!("{}", list());
            Ok(true)
        }
        Command::Run(args) => run_scenario(args),
        Command::Load(args) => run_load(args),
        Command::Fairness(args) => run_fairness(args),
    }
}

fn list() -> String {
    let mut text = String::from("scenarios:\n");
    for scenario in scenario::all() {
        text.push_str(&format!("  {:<14} {}\n", scenario.name(), scenario.about()));
    }
    text.push_str("rigs:\n  virtual        QEMU and a simulated radio\n");
    text.push_str("  bench          boards on serial ports and a real radio, from a TOML file\n");
    text.push_str("simulated radios (--air):\n");
    for (name, profile) in PRESETS {
        let loss = f64::from(profile.mean_loss_ppm()) / 10_000.0;
        text.push_str(&format!("  {name:<14} loses {loss:.1} %\n"));
    }
    text
}

fn run_scenario(args: &RunArgs) -> Result<bool> {
    let name = args.scenario.as_str();
    let scenarios = scenario::all();
    let scenario = scenarios.iter().find(|scenario| scenario.name() == name);
    let scenario = scenario.with_context(|| format!("no scenario {name}; see `hil list`"))?;
    let bench = bench_of(args)?;
    if args.dry_run {
        return dry_run(args, bench);
    }
    let interrupt = Interrupt::watch()?;
    let Some(plan) = bench else {
        return run_virtual(args, &interrupt);
    };
    // One bench: one run after the other.
    let mut passed = true;
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let mut rig = BenchRig::new(plan.clone());
        passed &= run_one(&interrupt, scenario.as_ref(), &mut rig, args, seed)?;
    }
    Ok(passed)
}

fn bench_of(args: &RunArgs) -> Result<Option<BenchPlan>> {
    match (args.rig, &args.bench) {
        (RigName::Virtual, _) => Ok(None),
        (RigName::Bench, Some(file)) => BenchPlan::read(file).map(Some),
        (RigName::Bench, None) => bail!("the bench rig needs --bench FILE"),
    }
}

fn dry_run(args: &RunArgs, bench: Option<BenchPlan>) -> Result<bool> {
    let nodes = usize::from(args.nodes);
    let lines = match bench {
        Some(plan) => BenchRig::new(plan).dry_run(nodes)?,
        None => vec![format!(
            "build {} and run {nodes} of it in QEMU, their radio simulated as {}",
            VirtualRig::BOARD,
            args.air
        )],
    };
    for line in lines {
        println!("{line}");
    }
    Ok(true)
}

fn run_virtual(args: &RunArgs, interrupt: &Interrupt) -> Result<bool> {
    let profile = FaultProfile::preset(&args.air)
        .with_context(|| format!("no simulated radio {}; see `hil list`", args.air))?;
    let firmware = match &args.firmware {
        Some(path) => Firmware::at(path)?,
        None => Firmware::build(VirtualRig::BOARD, VirtualRig::TRIPLE)?,
    };
    // Before the runs, and not once in each: cargo would have them wait for each other.
    ::tests::gateway_binary(::tests::Profile::Release)?;
    let seeds: VecDeque<u64> = (args.seed..args.seed.saturating_add(args.seeds)).collect();
    let seeds = Mutex::new(seeds);
    let next = || seeds.lock().ok().and_then(|mut seeds| seeds.pop_front());
    let worker = || -> Result<bool> {
        let scenarios = scenario::all();
        let scenario = scenarios
            .iter()
            .find(|scenario| scenario.name() == args.scenario)
            .context("the scenario")?;
        let mut passed = true;
        while let Some(seed) = next() {
            let mut rig = VirtualRig::new(firmware.clone(), profile, seed)?;
            passed &= run_one(interrupt, scenario.as_ref(), &mut rig, args, seed)?;
        }
        Ok(passed)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..args.jobs).map(|_| scope.spawn(worker)).collect();
        let mut passed = true;
        for worker in workers {
            let result = worker.join();
            passed &= result.map_err(|_| anyhow::anyhow!("a run panicked"))??;
        }
        Ok(passed)
    })
}

fn run_one(
    interrupt: &Interrupt,
    scenario: &dyn Scenario,
    rig: &mut dyn Rig,
    args: &RunArgs,
    seed: u64,
) -> Result<bool> {
    for line in rig.check(usize::from(args.nodes))? {
        eprintln!("seed {seed}: {line}");
    }
    let setup = Setup {
        nodes: args.nodes,
        readings: args.readings,
        seed,
    };
    let start = Instant::now();
    let mut progress = |at: Duration, line: &str| {
        eprintln!("seed {seed}: {:>5.1} s  {line}", at.as_secs_f64());
        interrupt.check()
    };
    let played = scenario::run(scenario, rig, &setup, &mut progress);
    let (recording, verdict) = played.with_context(|| format!("seed {seed}"))?;
    if !verdict.passed {
        eprintln!("the gateway said last:\n{}", recording.gateway_log);
    }
    let report = RunReport {
        scenario: scenario.name(),
        rig: rig.name(),
        seed,
        duration_s: start.elapsed().as_secs_f64(),
        arrivals: recording.charts(CHART_COLUMNS),
        verdict,
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", report::table(&report));
    }
    Ok(report.verdict.passed)
}

fn run_load(args: &LoadArgs) -> Result<bool> {
    let result = load::measure(&Measurement {
        clients: usize::try_from(args.clients)?,
        duration: Duration::from_secs(args.seconds),
        qos: if args.qos == 2 {
            QoS::ExactlyOnce
        } else {
            QoS::AtLeastOnce
        },
        payload_len: usize::from(args.payload),
        target: if args.spawn {
            Target::Spawned
        } else {
            Target::Running {
                address: args.gateway,
                pid: args.pid,
            }
        },
    })?;
    if args.json {
        println!("{}", serde_json::to_string(&result)?);
    } else {
        print!("{}", load::text(&result));
    }
    // What the measurement promises: nothing is lost before the gateway reads it.
    Ok(result.kernel_drops == 0)
}

fn run_fairness(args: &FairnessArgs) -> Result<bool> {
    let result = fairness::compare(&Comparison {
        clients: usize::try_from(args.clients)?,
        duration: Duration::from_secs(args.seconds),
        rounds: args.rounds,
        pause: Duration::from_millis(args.pause_ms),
        silent: usize::try_from(args.silent)?,
        rate_per_s: args.rate,
    })?;
    if args.json {
        println!("{}", serde_json::to_string(&result)?);
    } else {
        print!("{}", fairness::text(&result));
    }
    Ok(result.kernel_drops == 0 && result.p99_ratio <= fairness::P99_RATIO_MAX)
}

/// Columns of the chart of arrivals.
const CHART_COLUMNS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_list_names_everything_that_can_be_asked_for() {
        let text = list();
        for name in [
            "lossy-serial",
            "virtual",
            "bench",
            "lossy_serial",
            "sat_geo",
        ] {
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn an_unknown_scenario_and_an_unknown_radio_are_errors() {
        let run = |args: &[&str]| run(&Cli::parse_from(args)).unwrap_err().to_string();
        assert!(run(&["hil", "run", "no-such"]).contains("hil list"));
        let error = run(&["hil", "run", "lossy-serial", "--air", "no-such"]);
        assert!(error.contains("hil list"), "{error}");
    }

    #[test]
    fn a_bench_without_a_file_is_refused_by_the_parser() {
        let parsed = Cli::try_parse_from(["hil", "run", "lossy-serial", "--rig", "bench"]);
        assert!(parsed.unwrap_err().to_string().contains("--bench"));
    }
}
