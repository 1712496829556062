//! Who may do what, from a real configuration at the real process: links, topics, QoS, quotas,
//! and what a new configuration changes while sessions stay (D-42, D-43, D-44).

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use shared::wire::{QoS, TopicFilter, TopicRef};
use tests::{
    Carrier, MqttProbe, PATIENCE, ProbeOptions, Sandgrouse, SnNode, config, free_tcp_port,
    free_udp_port,
};

/// A gateway with the embedded broker, a UDP link, a line, and rules.
struct Rig {
    gateway: Sandgrouse,
    probe: MqttProbe,
    line: Carrier,
    /// The configuration without rules.
    base: String,
}

impl Rig {
    fn start(rules: &str) -> Result<Self> {
        let (udp_port, mqtt_port) = (free_udp_port()?, free_tcp_port()?);
        let line = Carrier::serial()?;
        let device = line.device().expect("a line has a device");
        let base = format!(
            "{}{}",
            config::udp_with_embedded_broker(udp_port, mqtt_port),
            config::serial_link(&device)
        );
        Ok(Self {
            gateway: Sandgrouse::with_config(udp_port, format!("{base}{rules}"))?,
            probe: MqttProbe::start(ProbeOptions::at(mqtt_port, &["#"]))?,
            line,
            base,
        })
    }

    fn node(&self, client_id: &str) -> Result<SnNode> {
        SnNode::connect(self.gateway.address(), client_id)
    }

    /// Gives the gateway other rules, and waits until it has said what it made of them.
    fn change(&mut self, rules: &str, said: &str) -> Result<()> {
        let file = self.gateway.directory().join("sandgrouse.toml");
        std::fs::write(file, format!("{}{rules}", self.base))?;
        self.gateway.process().signal(Signal::SIGHUP)?;
        self.gateway.process().wait_for_line(said, PATIENCE)?;
        Ok(())
    }
}

/// Asserts that a request was refused with a code.
fn refused<T: std::fmt::Debug>(result: Result<T>, code: &str) -> Result<()> {
    match result {
        Err(error) if format!("{error:#}").contains(code) => Ok(()),
        other => anyhow::bail!("{code:?} expected: {other:?}"),
    }
}

fn name(filter: &str) -> TopicFilter<'_> {
    TopicFilter::Name(filter.as_bytes())
}

const RULES: &str = r#"
[admission]
others = "refuse"

[[node]]
match = "pump-?"
links = ["udp"]
publish = ["pumps/%c/#"]
subscribe = ["pumps/%c/cmd/+"]
qos_max = 1

[[node]]
match = "radio-*"
links = ["serial"]

[[node]]
match = "busy"
messages_per_min = 5

[[node]]
match = "rich"
bytes_per_day = 100

[[node]]
match = "tiny"
profile = "emcute"
"#;

const NOT_SUPPORTED: &str = "rejected: not supported";
const CONGESTION: &str = "rejected: congestion";

#[test]
fn d44_who_has_no_rule_is_refused() -> Result<()> {
    let rig = Rig::start(RULES)?;
    refused(rig.node("stranger"), NOT_SUPPORTED)?;
    refused(rig.node("pump-10"), NOT_SUPPORTED)?;
    rig.node("pump-1")?.ping()
}

#[test]
fn d44_a_node_is_heard_on_its_links_only() -> Result<()> {
    let rig = Rig::start(RULES)?;
    refused(rig.node("radio-1"), NOT_SUPPORTED)?;
    let mut elsewhere = SnNode::over(rig.line.attach(&[1]), "pump-1");
    refused(elsewhere.open_session(true), NOT_SUPPORTED)?;
    let mut radio = SnNode::over(rig.line.attach(&[2]), "radio-1");
    radio.open_session(true)?;
    // And what it is refused in one place does not end what it has in another.
    refused(rig.node("radio-1"), NOT_SUPPORTED)?;
    radio.ping()
}

#[test]
fn d43_topics_and_qos_have_their_bounds() -> Result<()> {
    let rig = Rig::start(RULES)?;
    let mut pump = rig.node("pump-1")?;
    let own = TopicRef::Normal(pump.register("pumps/pump-1/level")?);
    pump.publish(own, QoS::AtLeastOnce, b"mine")?;
    refused(pump.publish(own, QoS::ExactlyOnce, b"x"), NOT_SUPPORTED)?;
    refused(pump.register("pumps/pump-2/level"), NOT_SUPPORTED)?;
    let short = TopicRef::Short(shared::wire::ShortName(*b"ab"));
    refused(pump.publish(short, QoS::AtLeastOnce, b"x"), NOT_SUPPORTED)?;

    let (_, granted) = pump.subscribe(name("pumps/pump-1/cmd/+"), QoS::ExactlyOnce)?;
    ensure!(granted == QoS::AtLeastOnce, "{granted}");
    for filter in [
        "pumps/pump-2/cmd/open",
        "pumps/+/cmd/+",
        "pumps/pump-1/#",
        "#",
    ] {
        refused(pump.subscribe(name(filter), QoS::AtMostOnce), NOT_SUPPORTED)?;
    }
    rig.probe.publish("pumps/pump-1/cmd/open", b"1", 2, false)?;
    let got = pump.deliveries(1, PATIENCE)?;
    ensure!(got[0].qos == QoS::AtLeastOnce, "{got:?}");

    // The probe has seen both, and nothing of what was refused.
    rig.probe.wait_for(2, PATIENCE)?;
    std::thread::sleep(QUIET);
    let seen = rig.probe.received();
    ensure!(seen.len() == 2 && seen[0].payload == b"mine", "{seen:?}");
    Ok(())
}

#[test]
fn d42_a_quota_is_answered_by_congestion() -> Result<()> {
    let rig = Rig::start(RULES)?;
    let mut busy = rig.node("busy")?;
    let topic = TopicRef::Normal(busy.register("t")?);
    for _ in 0..5 {
        busy.publish(topic, QoS::AtLeastOnce, b"x")?;
    }
    refused(busy.publish(topic, QoS::AtLeastOnce, b"x"), CONGESTION)?;

    let mut rich = rig.node("rich")?;
    let topic = TopicRef::Normal(rich.register("t")?);
    rich.publish(topic, QoS::AtLeastOnce, &[b'x'; 60])?;
    refused(
        rich.publish(topic, QoS::AtLeastOnce, &[b'x'; 60]),
        CONGESTION,
    )?;
    // The other's quota is its own.
    rich.publish(topic, QoS::AtLeastOnce, b"little")
}

#[test]
fn a20_emcute_is_not_given_what_it_cannot_read() -> Result<()> {
    let rig = Rig::start(RULES)?;
    let mut tiny = rig.node("tiny")?;
    refused(tiny.subscribe(name("a/#"), QoS::AtLeastOnce), NOT_SUPPORTED)?;
    let (id, granted) = tiny.subscribe(name("a/b"), QoS::ExactlyOnce)?;
    ensure!(
        id.is_assignable() && granted == QoS::AtLeastOnce,
        "{id} {granted}"
    );
    Ok(())
}

#[test]
fn a_new_configuration_holds_at_once_and_sessions_stay() -> Result<()> {
    let mut rig = Rig::start(RULES)?;
    let mut pump = rig.node("pump-1")?;
    refused(pump.register("wells/pump-1"), NOT_SUPPORTED)?;

    // A broken file changes nothing.
    rig.change("[[node]]\nmatch = 5\n", "everything stays as it was")?;
    refused(pump.register("wells/pump-1"), NOT_SUPPORTED)?;

    let wider = RULES.replace("\"pumps/%c/#\"", "\"pumps/%c/#\", \"wells/%c\"");
    rig.change(&wider, "node[pump-?].publish")?;
    let topic = TopicRef::Normal(pump.register("wells/pump-1")?);
    pump.publish(topic, QoS::AtLeastOnce, b"deep")?;
    let seen = rig.probe.wait_for(1, PATIENCE)?;
    ensure!(seen[0].topic == "wells/pump-1", "{seen:?}");

    // What is taken back is gone, for the ids that were given, too.
    rig.change(RULES, "wells/%c")?;
    let start = std::time::Instant::now();
    while pump.publish(topic, QoS::AtLeastOnce, b"late").is_ok() {
        ensure!(start.elapsed() < PATIENCE, "it still may");
    }
    pump.ping()
}

/// Long enough for what should not come.
const QUIET: Duration = Duration::from_millis(300);
