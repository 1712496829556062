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
    /// What the clients saw without the silent nodes.
    pub idle: LoadReport,
    /// What they saw beside them.
    pub beside: LoadReport,
    /// How many silent nodes there were.
    pub silent: usize,
    /// What was published to these meanwhile.
    pub published_to_silent: u64,
    /// How many times as long 99 % of the acknowledgements took beside them.
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
    let idle = ::tests::load::run(&options)?;

    let silent: Vec<SnSocket> = (0..comparison.silent)
        .map(|number| silent_node(gateway, number))
        .collect::<Result<_>>()?;
    let probe = MqttProbe::start(ProbeOptions::new(broker, &["none"]))?;
    let (ended, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| publish(comparison, &probe, &ended, &count));
        let beside = ::tests::load::run(&options);
        ended.store(true, Ordering::Relaxed);
        beside
    })?;
    drop(silent);
    let published_to_silent = count.into_inner();
    ensure!(published_to_silent > 0, "nothing went to the silent nodes");
    Ok(FairnessResult {
        p99_ratio: beside.p99_ms / idle.p99_ms,
        idle,
        beside,
        silent: comparison.silent,
        published_to_silent,
        kernel_drops: udp_drops(gateway.port())?,
    })
}

/// Publishes to the silent nodes in turn, at the rate that was asked for.
fn publish(comparison: &Comparison, probe: &MqttProbe, ended: &AtomicBool, count: &AtomicU64) {
    let start = Instant::now();
    let silent = u64::try_from(comparison.silent.max(1)).unwrap_or(u64::MAX);
    while !ended.load(Ordering::Relaxed) {
        let due = start.elapsed().as_secs_f64() * f64::from(comparison.rate_per_s);
        let sent = count.load(Ordering::Relaxed);
        if (sent as f64) >= due {
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
    format!(
        "clients          {}\n{}{}\
         silent nodes     {}, {} publications for them\n\
         ratio            {:.2} of the times of 99 %\n\
         kernel drops     {}\n",
        result.idle.clients,
        line("without", &result.idle),
        line("beside", &result.beside),
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
