//! The load generator's measurements: what the clients saw and what it cost the gateway.

use std::net::{Ipv4Addr, SocketAddr};

use ::tests::load::{LoadOptions, LoadReport};
use ::tests::{
    Launch, Mosquitto, MosquittoOptions, Profile, Sandgrouse, Usage, config, free_udp_port,
    udp_drops,
};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use shared::wire::QoS;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// How many clients.
    pub clients: usize,
    /// For how long they publish.
    pub duration: std::time::Duration,
    /// Their quality of service.
    pub qos: QoS,
    /// Their payload, in octets.
    pub payload_len: usize,
    /// Whom they load.
    pub target: Target,
}

/// Whom the clients load.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// A gateway and a mosquitto of its own.
    Spawned,
    /// A gateway that runs already; its process id, where its costs are wanted.
    Running {
        /// Its UDP address, on the loopback.
        address: SocketAddr,
        /// Its process.
        pid: Option<u32>,
    },
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct LoadResult {
    /// What the clients saw.
    #[serde(flatten)]
    pub load: LoadReport,
    /// Datagrams that the kernel dropped at the gateway's socket.
    pub kernel_drops: u64,
    /// What it cost the gateway, where its process is known.
    pub gateway: Option<GatewayCost>,
}

/// What a load cost the gateway.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GatewayCost {
    /// Processor time, in seconds: connecting, publishing and disconnecting.
    pub cpu_s: f64,
    /// Processor time for 10,000 acknowledged publications, in seconds.
    pub cpu_s_per_10k: f64,
    /// Memory before the first client, in KiB.
    pub rss_before_kib: u64,
    /// Memory after the last publication, in KiB.
    pub rss_after_kib: u64,
    /// The most memory in between, in KiB.
    pub rss_max_kib: u64,
}

/// Loads a gateway and measures.
///
/// # Errors
/// Where a part does not start, or a client is not answered.
pub fn measure(measurement: &Measurement) -> Result<LoadResult> {
    match measurement.target {
        Target::Running { address, pid } => load(measurement, address, pid),
        Target::Spawned => {
            let broker = Mosquitto::start(MosquittoOptions::default())?;
            let udp_port = free_udp_port()?;
            let mut gateway = Sandgrouse::start(Launch {
                config_toml: config::udp_with_broker(udp_port, &broker),
                udp_port: Some(udp_port),
                profile: Profile::Release,
            })?;
            let address = (Ipv4Addr::LOCALHOST, udp_port).into();
            let pid = gateway.process().pid();
            load(measurement, address, Some(pid)).with_context(|| {
                let log = gateway.process().log().tail(10);
                format!("the gateway said last:\n{log}")
            })
        }
    }
}

fn load(measurement: &Measurement, address: SocketAddr, pid: Option<u32>) -> Result<LoadResult> {
    let mut options = LoadOptions::new(address, measurement.clients);
    options.duration = measurement.duration;
    options.qos = measurement.qos;
    options.payload_len = measurement.payload_len;
    let usage = || pid.map(Usage::of).transpose();
    let before = usage()?;
    let drops_before = udp_drops(address.port())?;
    let load = ::tests::load::run(&options)?;
    let after = usage()?;
    ensure!(load.acknowledged > 0, "nothing was acknowledged");
    Ok(LoadResult {
        kernel_drops: udp_drops(address.port())?.saturating_sub(drops_before),
        gateway: before
            .zip(after)
            .map(|(before, after)| cost(before, after, load.acknowledged)),
        load,
    })
}

fn cost(before: Usage, after: Usage, acknowledged: u64) -> GatewayCost {
    let cpu_s = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    GatewayCost {
        cpu_s,
        cpu_s_per_10k: cpu_s * 10_000.0 / acknowledged as f64,
        rss_before_kib: before.rss_kib,
        rss_after_kib: after.rss_kib,
        rss_max_kib: after.rss_max_kib,
    }
}

/// Returns the result for people to read.
#[must_use]
pub fn text(result: &LoadResult) -> String {
    let load = &result.load;
    let mut text = format!(
        "clients          {}\n\
         connected in     {:.2} s\n\
         acknowledged     {} in {:.2} s\n\
         rate             {:.0} messages/s\n\
         time to ack      {:.2} ms median, {:.2} ms of 99 %, {:.2} ms longest\n\
         retries          {}\n\
         refused          {}\n\
         kernel drops     {}\n",
        load.clients,
        load.connect_s,
        load.acknowledged,
        load.elapsed_s,
        load.rate_per_s,
        load.p50_ms,
        load.p99_ms,
        load.max_ms,
        load.retries,
        load.refused,
        result.kernel_drops
    );
    if let Some(cost) = &result.gateway {
        text.push_str(&format!(
            "gateway's CPU    {:.2} s, {:.3} s for 10,000 messages\n\
             gateway's memory {} KiB before, {} KiB after, {} KiB at most\n",
            cost.cpu_s,
            cost.cpu_s_per_10k,
            cost.rss_before_kib,
            cost.rss_after_kib,
            cost.rss_max_kib
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn costs_are_differences_and_shares() {
        let usage = |cpu_ms, rss_kib| Usage {
            cpu: Duration::from_millis(cpu_ms),
            rss_kib,
            rss_max_kib: 9_000,
        };
        let cost = cost(usage(500, 5_000), usage(2_500, 7_000), 40_000);
        assert!((cost.cpu_s - 2.0).abs() < 1e-9);
        assert!((cost.cpu_s_per_10k - 0.5).abs() < 1e-9);
        assert_eq!((cost.rss_before_kib, cost.rss_after_kib), (5_000, 7_000));
    }
}
