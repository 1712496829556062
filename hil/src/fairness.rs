//! What nodes that never answer cost the others: the same load without them and beside them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::tests::load::{LoadOptions, LoadReport};
use ::tests::{
    Launch, Mosquitto, MosquittoOptions, MqttProbe, PATIENCE, ProbeOptions, Profile, Sandgrouse,
    SnSocket, config, free_udp_port, udp_drops,
};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use shared::wire::{Connect, Message, MsgId, QoS, ReturnCode, Subscribe, TopicFilter};

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// How many clients publish, at QoS 1.
    pub clients: usize,
    /// For how long, each time.
    pub duration: Duration,
    /// How many times without the silent nodes and as many times beside them, in turn: other work
    /// on the machine shall fall on both.
    pub rounds: u8,
    /// How long each of them pauses between two publications.
    pub pause: Duration,
    /// How many nodes subscribe and answer nothing.
    pub silent: usize,
    /// Publications a second to their topics, all together, at QoS 1.
    pub rate_per_s: u32,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct FairnessResult {
    /// What the clients saw without anything for the silent nodes, round by round.
    pub idle: Vec<LoadReport>,
    /// What they saw beside them, round by round.
    pub beside: Vec<LoadReport>,
    /// How many silent nodes there were.
    pub silent: usize,
    /// What was published to these meanwhile.
    pub published_to_silent: u64,
    /// How many times as long 99 % of the acknowledgements took beside them, by the medians of
    /// the rounds.
    pub p99_ratio: f64,
    /// Datagrams that the kernel dropped at the gateway's socket.
    pub kernel_drops: u64,
}

/// Loads a release gateway beside a mosquitto twice and compares.
///
/// # Errors
/// Where a part does not start, or a client is not answered.
pub fn compare(comparison: &Comparison) -> Result<FairnessResult> {
    let broker = Mosquitto::start(MosquittoOptions::default())?;
    let udp_port = free_udp_port()?;
    // Repeated often while it lasts, not once at its end.
    let clock = "t_retry = \"1s\"\n";
    let mut gateway = Sandgrouse::start(Launch {
        config_toml: config::udp_link(udp_port) + clock + &config::upstream(&broker),
        udp_port: Some(udp_port),
        profile: Profile::Release,
    })?;
    let address = (Ipv4Addr::LOCALHOST, udp_port).into();
    let measured = measure(comparison, address, &broker);
    measured.with_context(|| {
        let log = gateway.process().log().tail(10);
        format!("the gateway said last:\n{log}")
    })
}

fn measure(
    comparison: &Comparison,
    gateway: SocketAddr,
    broker: &Mosquitto,
) -> Result<FairnessResult> {
    let mut options = LoadOptions::new(gateway, comparison.clients);
    options.duration = comparison.duration;
    options.pause = comparison.pause;
    // The first run pays for what is only done once: memory, pages, caches.
    let mut warm_up = options.clone();
    warm_up.duration = comparison.duration.min(WARM_UP);
    ::tests::load::run(&warm_up)?;
    let silent: Vec<SnSocket> = (0..comparison.silent)
        .map(|number| silent_node(gateway, number))
        .collect::<Result<_>>()?;
    let probe = MqttProbe::start(ProbeOptions::new(broker, &["none"]))?;
    let count = AtomicU64::new(0);
    let (mut idle, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..comparison.rounds {
        idle.push(::tests::load::run(&options)?);
        let ended = AtomicBool::new(false);
        beside.push(std::thread::scope(|scope| {
            scope.spawn(|| publish(comparison, &probe, &ended, &count));
            let load = ::tests::load::run(&options);
            ended.store(true, Ordering::Relaxed);
            load
        })?);
    }
    drop(silent);
    let published_to_silent = count.into_inner();
    ensure!(published_to_silent > 0, "nothing went to the silent nodes");
    Ok(FairnessResult {
        p99_ratio: median_p99_ms(&beside) / median_p99_ms(&idle),
        idle,
        beside,
        silent: comparison.silent,
        published_to_silent,
        kernel_drops: udp_drops(gateway.port())?,
    })
}

/// Returns the median of the rounds' times that 99 % stayed within.
fn median_p99_ms(rounds: &[LoadReport]) -> f64 {
    let mut times: Vec<f64> = rounds.iter().map(|round| round.p99_ms).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Publishes to the silent nodes in turn, at the rate that was asked for.
fn publish(comparison: &Comparison, probe: &MqttProbe, ended: &AtomicBool, count: &AtomicU64) {
    let (start, before) = (Instant::now(), count.load(Ordering::Relaxed));
    let silent = u64::try_from(comparison.silent.max(1)).unwrap_or(u64::MAX);
    while !ended.load(Ordering::Relaxed) {
        let due = start.elapsed().as_secs_f64() * f64::from(comparison.rate_per_s);
        let sent = count.load(Ordering::Relaxed);
        if ((sent - before) as f64) >= due {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let topic = format!("silent/{}", sent % silent);
        if probe.publish(&topic, b"nobody answers", 1, false).is_err() {
            return;
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Connects and subscribes, and answers nothing from then on.
fn silent_node(gateway: SocketAddr, number: usize) -> Result<SnSocket> {
    let socket = SnSocket::open(gateway)?;
    let client_id = format!("silent-{number}");
    socket.send(&Message::Connect(Connect {
        will: false,
        clean: true,
        protocol_id: Connect::PROTOCOL_ID,
        duration_s: 600,
        client_id: client_id.as_bytes(),
    }))?;
    let accepted = |message: &Message<'_>| match message {
        Message::ConnAck(answer) => answer.return_code == ReturnCode::Accepted,
        _ => false,
    };
    socket.expect(PATIENCE, accepted)?;
    let topic = format!("silent/{number}");
    socket.send(&Message::Subscribe(Subscribe {
        dup: false,
        qos: QoS::AtLeastOnce,
        msg_id: MsgId(1),
        topic: TopicFilter::Name(topic.as_bytes()),
    }))?;
    socket.expect(PATIENCE, |message| matches!(message, Message::SubAck(_)))?;
    Ok(socket)
}

/// Returns the result for people to read.
#[must_use]
pub fn text(result: &FairnessResult) -> String {
    let line = |name: &str, load: &LoadReport| {
        format!(
            "{name:<16} {:.2} ms median, {:.2} ms of 99 %, {:.2} ms longest, {:.0} messages/s, \
             {} retries\n",
            load.p50_ms, load.p99_ms, load.max_ms, load.rate_per_s, load.retries
        )
    };
    let rounds: String = result
        .idle
        .iter()
        .zip(&result.beside)
        .map(|(idle, beside)| line("without", idle) + &line("beside", beside))
        .collect();
    format!(
        "clients          {}\n{rounds}\
         silent nodes     {}, {} publications for them\n\
         ratio            {:.2} of the medians of the times of 99 %\n\
         kernel drops     {}\n",
        result.idle.first().map_or(0, |load| load.clients),
        result.silent,
        result.published_to_silent,
        result.p99_ratio,
        result.kernel_drops
    )
}

/// How many times as long the others' acknowledgements may take.
pub const P99_RATIO_MAX: f64 = 2.0;

/// How long the first, unmeasured run takes.
const WARM_UP: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn load(p99_ms: f64) -> LoadReport {
        LoadReport {
            clients: 1,
            acknowledged: 1,
            retries: 0,
            refused: 0,
            elapsed_s: 1.0,
            rate_per_s: 1.0,
            connect_s: 0.1,
            p50_ms: p99_ms / 2.0,
            p99_ms,
            max_ms: p99_ms,
        }
    }

    #[test]
    fn one_disturbed_round_is_not_the_result() {
        let rounds = [9.0, 1.0, 2.0].map(load);
        assert!((median_p99_ms(&rounds) - 2.0).abs() < 1e-9);
    }
}
