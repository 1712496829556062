//! The operator: a client of the broker that watches, and now and then gives a command.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration as StdDuration;

use anyhow::{Context as _, anyhow};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use shared::rng::Rng;
use tokio::task::JoinHandle;

use super::stage::Stage;

/// A connected operator.
pub(super) struct Operator {
    client: AsyncClient,
    listens: JoinHandle<anyhow::Error>,
    commands: JoinHandle<()>,
}

impl Operator {
    /// Connects, and returns when nothing that nodes publish will be missed.
    pub(super) async fn connect(
        stage: Rc<Stage>,
        broker: SocketAddr,
        interval_s: u32,
        rng: Rng,
    ) -> anyhow::Result<Self> {
        let mut options = MqttOptions::new(CLIENT_ID, broker.ip().to_string(), broker.port());
        options
            .set_keep_alive(KEEP_ALIVE)
            // Each costs memory beforehand.
            .set_outgoing_inflight_upper_limit(INFLIGHT_MAX);
        let (client, mut connection) = AsyncClient::new(options, REQUESTS_MAX);
        for filter in FILTERS {
            client.subscribe(filter, QoS::AtLeastOnce).await?;
        }
        let mut confirmed = 0;
        while confirmed < FILTERS.len() {
            if let Event::Incoming(Packet::SubAck(_)) = connection.poll().await? {
                confirmed += 1;
            }
        }
        let commands = command(stage.clone(), client.clone(), interval_s, rng);
        Ok(Self {
            client,
            listens: tokio::task::spawn_local(listen(stage, connection)),
            commands: tokio::task::spawn_local(commands),
        })
    }

    /// Returns why the connection has ended, once it has.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        (&mut self.listens).await.unwrap_or_else(Into::into)
    }

    /// Gives no more commands.
    pub(super) fn fall_silent(&self) {
        self.commands.abort();
    }

    /// Says good-bye.
    pub(super) async fn leave(mut self) {
        if self.client.disconnect().await.is_ok() {
            let _ = tokio::time::timeout(LEAVE_MAX, &mut self.listens).await;
        }
        self.listens.abort();
    }
}

async fn listen(stage: Rc<Stage>, mut connection: EventLoop) -> anyhow::Error {
    loop {
        match connection.poll().await {
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                if let Ok(topic) = std::str::from_utf8(&publish.topic) {
                    stage.published(topic, &publish.payload);
                }
            }
            Ok(_) => {}
            // What comes in between would be missed, and the verdict be wrong.
            Err(error) => return anyhow!(error).context("the broker is gone"),
        }
    }
}

async fn command(stage: Rc<Stage>, client: AsyncClient, interval_s: u32, mut rng: Rng) {
    tokio::time::sleep(FIRST_COMMAND).await;
    let mut nodes = (0..stage.names().len()).cycle();
    for id in 1_u32.. {
        // A node that has not subscribed yet would never hear of it.
        let node = nodes
            .by_ref()
            .take(stage.names().len())
            .find(|node| stage.is_subscribed(*node));
        if let Some(node) = node {
            let topic = format!("cmd/{}", stage.name(node));
            let text = format!("#{id} {}", wish(interval_s, &mut rng));
            let sent = client.publish(topic, QoS::AtLeastOnce, false, text).await;
            if sent.context("the broker takes no commands").is_err() {
                return;
            }
        }
        tokio::time::sleep(COMMAND_INTERVAL).await;
    }
}

fn wish(interval_s: u32, rng: &mut Rng) -> String {
    match rng.below(4) {
        0 => "led on".to_owned(),
        1 => "led off".to_owned(),
        2 => "report".to_owned(),
        _ => {
            let more = u32::try_from(rng.below(3)).unwrap_or(0);
            let longest = *app::settings::INTERVAL_S.end();
            format!("interval {}", (interval_s + more).min(longest))
        }
    }
}

const CLIENT_ID: &str = "sandgrouse-demo-operator";

/// The topics of the node application's defaults.
const FILTERS: [&str; 3] = ["readings/+", "status/+", "cmd/+"];

const KEEP_ALIVE: StdDuration = StdDuration::from_secs(20);
const INFLIGHT_MAX: u16 = 20;
const REQUESTS_MAX: usize = 16;

/// The nodes have subscribed by then.
const FIRST_COMMAND: StdDuration = StdDuration::from_millis(2500);
const COMMAND_INTERVAL: StdDuration = StdDuration::from_secs(4);
const LEAVE_MAX: StdDuration = StdDuration::from_secs(1);

#[cfg(test)]
mod tests {
    use app::command::Command;

    use super::*;

    #[test]
    fn every_wish_is_a_command() {
        let mut rng = Rng::new(1);
        for interval_s in [1, 3, *app::settings::INTERVAL_S.end()] {
            for _ in 0..50 {
                let wish = wish(interval_s, &mut rng);
                let parsed = Command::parse(format!("#7 {wish}").as_bytes());
                assert_eq!(parsed.id, 7);
                assert!(parsed.action.is_ok(), "{wish}");
            }
        }
    }
}
