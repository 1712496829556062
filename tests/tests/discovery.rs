//! Nodes find gateways by ADVERTISE and SEARCHGW, over UDP groups and over a line, and go to
//! another one when theirs has gone [MQTT-SN 1.2 §6.1] D-09.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shared::client::{Config, Discovery, Phase, Topic};
use shared::wire::QoS;
use tests::{
    Air, Carrier, ClientNode, Group, Mosquitto, MosquittoOptions, MqttProbe, PATIENCE,
    ProbeOptions, Sandgrouse, Stop, config, free_udp_port, seed,
};

#[test]
fn d09_a_node_finds_a_gateway_by_searching_an_ipv4_group() -> Result<()> {
    Rig::start(&Group::v4()?)?.judge_search()
}

#[test]
fn d09_a_node_finds_a_gateway_by_searching_an_ipv6_group() -> Result<()> {
    Rig::start(&Group::v6()?)?.judge_search()
}

#[test]
fn d09_a_node_that_only_listens_hears_advertise_in_an_ipv4_group() -> Result<()> {
    is_heard_by_who_only_listens(&Group::v4()?)
}

#[test]
fn d09_a_node_that_only_listens_hears_advertise_in_an_ipv6_group() -> Result<()> {
    is_heard_by_who_only_listens(&Group::v6()?)
}

#[test]
fn d09_a_node_goes_to_the_other_gateway_when_its_own_dies() -> Result<()> {
    let group = Group::v4()?;
    let mut rig = Rig::start(&group)?;
    rig.add_gateway(2, "never")?;
    let mut node = searching(&group, false)?;
    node.command(|client, now| client.connect(now))?;
    node.run_until(PATIENCE, |node| node.client().phase() == Phase::Active)?;
    rig.is_served(&mut node, "before")?;

    let first = node.gateway_port().context("no gateway")?;
    let dead = rig
        .gateways
        .iter_mut()
        .find(|it| it.address().port() == first);
    dead.context("an unknown gateway")?.stop(Stop::Kill)?;
    node.run_until(PATIENCE, |node| {
        node.client().phase() == Phase::Active && node.gateway_port() != Some(first)
    })?;
    rig.is_served(&mut node, "after")
}

#[test]
fn d09_a_node_finds_the_gateway_at_the_other_end_of_its_line() -> Result<()> {
    for encapsulated in [false, true] {
        let line = Carrier::serial()?;
        let broker = Mosquitto::start(MosquittoOptions::default())?;
        let device = line.device().context("a line has a device")?;
        let text = config::serial_link(&device) + &config::upstream(&broker);
        let gateway = Sandgrouse::with_config(0, text)?;
        let rig = Rig::of(broker, gateway)?;
        let place = if encapsulated {
            line.attach(&[7])
        } else {
            line.attach_alone()
        };
        let mut node = ClientNode::new(node_config()?, seed(3), Air::Point(place))?;
        node.command(|client, now| client.connect(now))?;
        node.run_until(PATIENCE, |node| node.client().phase() == Phase::Active)?;
        ensure!(node.take_event("GatewayFound"), "it was not searched for");
        rig.is_served(&mut node, "over the line")?;
    }
    Ok(())
}

#[test]
fn d09_a_node_on_a_line_hears_advertise() -> Result<()> {
    let line = Carrier::serial()?;
    let broker = Mosquitto::start(MosquittoOptions::default())?;
    let device = line.device().context("a line has a device")?;
    let listener = line.attach_alone();
    let link = config::serial_link(&device) + "advertise_every = \"10s\"\n";
    let text = link + &config::upstream(&broker);
    let _gateway = Sandgrouse::with_config(0, text)?;
    let heard = listener.receive(PATIENCE)?.context("nothing was heard")?;
    ensure!(heard.0 == [5, 0x00, 1, 0, 10], "{heard:?}");
    Ok(())
}

/// Gateways in a group beside a mosquitto.
struct Rig {
    broker: Mosquitto,
    probe: MqttProbe,
    gateways: Vec<Sandgrouse>,
    group: Option<Group>,
}

impl Rig {
    /// Starts one gateway, which answers and says nothing unasked.
    fn start(group: &Group) -> Result<Self> {
        let broker = Mosquitto::start(MosquittoOptions::default())?;
        let mut rig = Self {
            probe: MqttProbe::start(ProbeOptions::new(&broker, &["found/#"]))?,
            broker,
            gateways: Vec::new(),
            group: Some(group.clone()),
        };
        rig.add_gateway(1, "never")?;
        Ok(rig)
    }

    fn of(broker: Mosquitto, gateway: Sandgrouse) -> Result<Self> {
        Ok(Self {
            probe: MqttProbe::start(ProbeOptions::new(&broker, &["found/#"]))?,
            broker,
            gateways: vec![gateway],
            group: None,
        })
    }

    fn add_gateway(&mut self, id: u8, advertise_every: &str) -> Result<()> {
        let group = self.group.as_ref().context("there is no group")?;
        let text = gateway_config(group, id, advertise_every, &self.broker)?;
        self.gateways.push(Sandgrouse::with_config(text.0, text.1)?);
        Ok(())
    }

    fn judge_search(self) -> Result<()> {
        let group = self.group.as_ref().context("there is no group")?;
        let mut node = searching(group, false)?;
        node.command(|client, now| client.connect(now))?;
        node.run_until(PATIENCE, |node| node.client().phase() == Phase::Active)?;
        let port = self.gateways[0].address().port();
        ensure!(
            node.gateway_port() == Some(port),
            "{:?}",
            node.client().gateway()
        );
        self.is_served(&mut node, "by a search")
    }

    /// A publication of the node's reaches the broker.
    fn is_served(&self, node: &mut ClientNode, text: &str) -> Result<()> {
        let before = self.probe.count();
        node.command(|client, _| {
            client.publish(
                Topic::Name("found/node"),
                QoS::AtLeastOnce,
                false,
                text.as_bytes(),
            )
        })?;
        node.run_until(PATIENCE, |node| node.take_event("Published"))?;
        let received = self.probe.wait_for(before + 1, PATIENCE)?;
        let last = received.last().context("it was waited for")?;
        ensure!(last.payload == text.as_bytes(), "{last:?}");
        Ok(())
    }
}

fn is_heard_by_who_only_listens(group: &Group) -> Result<()> {
    let broker = Mosquitto::start(MosquittoOptions::default())?;
    let mut node = searching(group, true)?;
    node.command(|client, now| client.connect(now))?;
    let (port, text) = gateway_config(group, 9, "10s", &broker)?;
    let rig = Rig::of(broker, Sandgrouse::with_config(port, text)?)?;
    node.run_until(PATIENCE, |node| node.client().phase() == Phase::Active)?;
    ensure!(
        node.take_event("GatewayFound { gw_id: 9"),
        "not by ADVERTISE"
    );
    ensure!(
        node.gateway_port() == Some(port),
        "{:?}",
        node.client().gateway()
    );
    rig.is_served(&mut node, "by listening")
}

fn gateway_config(
    group: &Group,
    id: u8,
    advertise_every: &str,
    broker: &Mosquitto,
) -> Result<(u16, String)> {
    let port = free_udp_port()?;
    let text = format!(
        "[gateway]\nid = {id}\nclient_id = \"gateway-{id}\"\n\
         [[link]]\nname = \"udp\"\ntype = \"udp\"\nlisten = \"{}:{port}\"\n\
         discovery = true\nadvertise_every = \"{advertise_every}\"\n{}{}",
        group.any(),
        group.link_keys(),
        config::upstream(broker)
    );
    Ok((port, text))
}

fn searching(group: &Group, muffled: bool) -> Result<ClientNode> {
    ClientNode::new(node_config()?, seed(1), Air::group(group, muffled)?)
}

/// A node that looks for gateways and is quick to notice that one has gone.
fn node_config() -> Result<Config> {
    let mut config = Config::new("finder").map_err(|error| anyhow::anyhow!("{error:?}"))?;
    config.discovery = Some(Discovery::default());
    config.keep_alive_s = 2;
    let short = |duration: Duration| {
        shared::time::Duration::from_millis(duration.as_millis().try_into().unwrap_or(u64::MAX))
    };
    config.link.t_retry = short(Duration::from_millis(300));
    config.link.n_retry = 3;
    config.link.t_search_gw = short(Duration::from_millis(200));
    Ok(config)
}
