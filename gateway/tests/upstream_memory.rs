//! What a connection costs; alone in its process, so that nothing else is measured.

mod fake_broker;
mod upstream_engine;

use fake_broker::{FakeBroker, Script};
use shared::wire::QoS;
use upstream_engine::{Engine, config};

#[tokio::test]
async fn a_connection_stays_small() {
    const COUNT: usize = 50;
    const EACH_MAX: usize = 300 * 1024;
    let mut brokers = Vec::new();
    for _ in 0..=COUNT {
        brokers.push(FakeBroker::start(Script::default(), 0).await);
    }
    let mut engines = vec![served(&brokers[0]).await];
    let before = resident();
    for broker in &brokers[1..] {
        engines.push(served(broker).await);
    }
    let each = (resident() - before) / COUNT;
    // rumqttc reserves 14 MB for each with the window it has by default. This counts the
    // broker's side too.
    assert!(each < EACH_MAX, "{each} bytes each");
    println!("{each} bytes each");
}

async fn served(broker: &FakeBroker) -> Engine {
    let mut engine = Engine::start(&config(broker), 0);
    engine.publish("t", QoS::ExactlyOnce, "x");
    engine.all_published().await;
    engine
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
