use shared::wire::{Advertise, GwInfo, SearchGw};

use super::strangers::wrapped;
use super::*;

const LINK: LinkId = LinkId(0);
const T_ADV: Duration = Duration::from_secs(900);
const FIRST_MAX: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

const fn search(radius: u8) -> Message<'static> {
    Message::SearchGw(SearchGw { radius })
}

const fn info(gw_id: u8) -> Message<'static> {
    Message::GwInfo(GwInfo {
        gw_id,
        gw_addr: &[],
    })
}

const fn advertise(gw_id: u8, duration_s: u16) -> Message<'static> {
    Message::Advertise(Advertise { gw_id, duration_s })
}

/// A gateway with id 1 that advertises, and whose upstream is there.
fn advertising(standby_misses: Option<u8>) -> Script {
    Script::with(|settings| {
        settings.links[0].discovery = Some(Discovery {
            advertise_every: Some(T_ADV),
            standby_misses,
        });
    })
}

fn stand_ins(script: &mut Script) -> Vec<bool> {
    script.noticed(|notice| match notice {
        Notice::StandsIn { yes, .. } => Some(yes),
        _ => None,
    })
}

#[test]
fn d09_search_is_answered_to_who_asked_and_to_everyone() {
    let mut script = Script::with(|settings| settings.gw_id = 9);
    script.says(NODE, &search(2));
    script.hears(NODE, &info(9));
    script.broadcasts(LINK, 2, &info(9));
    // The same again says nothing new; another asker is answered, and everyone has heard it.
    script.says(NODE, &search(2));
    script.says(OTHER, &search(2));
    script.hears(OTHER, &info(9));
    script.hears_nothing();
    assert!(script.broadcast.is_empty());
    assert_eq!(script.engine.stats().replies_withheld, 1);
    script.wait(FIRST_MAX);
    script.says(NODE, &search(0));
    script.hears(NODE, &info(9));
    script.broadcasts(LINK, 0, &info(9));
}

#[test]
fn d09_an_answer_that_a_whole_line_hears_is_not_sent_twice() {
    let mut script = Script::with(|settings| settings.gw_id = 9);
    let line = Binding {
        link: LINK,
        peer: Peer::Line,
        node_id: None,
    };
    script.says(line, &search(2));
    script.hears(line, &info(9));
    assert!(script.broadcast.is_empty());
}

#[test]
fn d09_searches_are_answered_at_a_bounded_rate() {
    let mut script = Script::new();
    for port in 1..=5000 {
        script.says(node(port), &search(0));
    }
    assert_eq!(script.sent.len(), 100);
    assert_eq!(script.broadcast.len(), 1);
}

#[test]
fn d09_search_is_not_answered_where_discovery_is_off() {
    let mut script = Script::with(|settings| settings.links[0].discovery = None);
    script.says(NODE, &search(0));
    script.says(NODE, &advertise(2, 900));
    script.says(NODE, &info(2));
    script.hears_nothing();
    assert!(script.broadcast.is_empty());
    assert_eq!(script.drops(), [DropReason::Unexpected; 3]);
}

#[test]
fn d09_search_is_not_answered_without_an_upstream() {
    let settings = Settings::default();
    let now = Instant::from_millis(1);
    let mut script = Script::new();
    script.engine = Engine::new(settings, Rng::new(1), now);
    script.now = now;
    script.says(NODE, &search(0));
    script.hears_nothing();
    script.upstream(UpstreamEvent::Connected);
    script.says(NODE, &search(0));
    script.hears(NODE, &info(1));
    // A short outage is nothing to tell nodes of, a long one is (D-36).
    script.upstream(UpstreamEvent::Disconnected);
    script.wait(Duration::from_secs(29));
    script.says(NODE, &search(0));
    script.hears(NODE, &info(1));
    script.wait(Duration::from_secs(6));
    script.says(NODE, &search(0));
    script.hears_nothing();
}

#[test]
fn d09_an_answer_through_a_forwarder_goes_as_far_as_was_asked() {
    let mut script = Script::with(|settings| settings.links[0].forwarders = Forwarders::Anyone);
    for (id, radius, within) in [(1, 0, 0), (2, 2, 2), (3, 3, 3), (4, 9, 0)] {
        script.raw(NODE, &wrapped(&[id], 0, &search(radius)));
        let (_, datagram) = script.sent.pop_front().unwrap();
        assert_eq!(datagram, wrapped(&[id], within, &info(1)));
    }
    // A connection's own messages are for one node.
    script.raw(NODE, &wrapped(&[5], 0, &connect("a", true, false)));
    let (_, datagram) = script.sent.pop_front().unwrap();
    assert_eq!(datagram, wrapped(&[5], 0, &connack(ACCEPTED)));
}

#[test]
fn d09_advertise_starts_soon_and_repeats_as_it_says() {
    let mut script = advertising(None);
    script.wait(FIRST_MAX);
    script.broadcasts(LINK, 0, &advertise(1, 900));
    for _ in 0..3 {
        script.wait(T_ADV);
        script.broadcasts(LINK, 0, &advertise(1, 900));
    }
    assert!(script.broadcast.is_empty());
}

#[test]
fn d09_gateways_that_start_together_do_not_advertise_together() {
    let first = |seed| {
        let mut settings = Settings::default();
        settings.links[0].discovery = Some(Discovery {
            advertise_every: Some(T_ADV),
            standby_misses: None,
        });
        let mut engine = Engine::new(settings, Rng::new(seed), Instant::ZERO);
        engine.handle_upstream(Instant::ZERO, UpstreamEvent::Connected);
        engine.poll_timeout().unwrap()
    };
    let firsts: std::collections::BTreeSet<_> = (0..20).map(first).collect();
    assert!(firsts.len() > 10, "{firsts:?}");
    assert!(firsts.iter().all(|at| *at < Instant::ZERO + FIRST_MAX));
}

#[test]
fn d09_nothing_is_advertised_before_the_upstream_was_there() {
    let mut settings = Settings::default();
    settings.links[0].discovery = Some(Discovery {
        advertise_every: Some(T_ADV),
        standby_misses: None,
    });
    let mut script = Script::new();
    script.engine = Engine::new(settings, Rng::new(1), script.now);
    script.wait(T_ADV);
    assert!(script.broadcast.is_empty());
    script.upstream(UpstreamEvent::Connected);
    script.wait(FIRST_MAX);
    script.broadcasts(LINK, 0, &advertise(1, 900));
}

#[test]
fn d36_advertise_stops_in_an_outage_and_starts_again() {
    let mut script = advertising(None);
    script.wait(FIRST_MAX);
    script.broadcasts(LINK, 0, &advertise(1, 900));
    // Short outages change nothing, however many.
    for _ in 0..50 {
        script.upstream(UpstreamEvent::Disconnected);
        script.wait(SECOND);
        script.upstream(UpstreamEvent::Connected);
    }
    assert!(script.broadcast.is_empty());
    script.wait(T_ADV);
    script.broadcasts(LINK, 0, &advertise(1, 900));
    script.upstream(UpstreamEvent::Disconnected);
    script.wait(T_ADV);
    script.wait(T_ADV);
    assert!(script.broadcast.is_empty());
    script.upstream(UpstreamEvent::Connected);
    script.wait(FIRST_MAX);
    script.broadcasts(LINK, 0, &advertise(1, 900));
    script.wait(FIRST_MAX);
    assert!(script.broadcast.is_empty());
}

#[test]
fn nothing_is_advertised_on_a_link_that_is_down() {
    let mut script = advertising(None);
    script.wait(FIRST_MAX);
    script.broadcasts(LINK, 0, &advertise(1, 900));
    script.link(LINK, LinkEvent::Down);
    script.wait(T_ADV);
    assert!(script.broadcast.is_empty());
    script.link(LINK, LinkEvent::Up);
    script.link(LINK, LinkEvent::Up);
    script.wait(FIRST_MAX);
    script.broadcasts(LINK, 0, &advertise(1, 900));
    assert!(script.broadcast.is_empty());
}

#[test]
fn a_dead_link_is_advertised_on_for_how_else_would_it_come_to_life() {
    let mut script = Script::with(|settings| {
        settings.links[0].dead_after = Some(Duration::from_secs(60));
        settings.links[0].discovery = Some(Discovery {
            advertise_every: Some(T_ADV),
            standby_misses: None,
        });
    });
    script.wait(FIRST_MAX);
    script.broadcasts(LINK, 0, &advertise(1, 900));
    script.wait(T_ADV);
    script.broadcasts(LINK, 0, &advertise(1, 900));
}

#[test]
fn d09_a_stand_by_is_silent_while_another_gateway_is_heard() {
    let mut script = advertising(Some(2));
    script.says(OTHER, &advertise(2, 900));
    for _ in 0..4 {
        script.wait(T_ADV);
        script.says(OTHER, &advertise(2, 900));
        script.says(NODE, &search(0));
    }
    script.hears_nothing();
    assert!(script.broadcast.is_empty());
    assert!(stand_ins(&mut script).is_empty());
    // The second one that does not come is due now; with a tenth of tolerance it takes over.
    script.wait(T_ADV);
    script.wait(T_ADV);
    assert!(script.broadcast.is_empty());
    script.wait(Duration::from_secs(180) + FIRST_MAX);
    script.broadcasts(LINK, 0, &advertise(1, 900));
    assert_eq!(stand_ins(&mut script), [true]);
    script.says(NODE, &search(0));
    script.hears(NODE, &info(1));
    script.broadcasts(LINK, 0, &info(1));
    script.wait(T_ADV);
    script.broadcasts(LINK, 0, &advertise(1, 900));
    assert!(stand_ins(&mut script).is_empty());
    // The other one is back.
    script.says(OTHER, &advertise(2, 900));
    script.says(OTHER, &advertise(2, 900));
    assert_eq!(stand_ins(&mut script), [false]);
    script.wait(T_ADV);
    script.says(NODE, &search(0));
    script.hears_nothing();
    assert!(script.broadcast.is_empty());
}

#[test]
fn d09_a_stand_by_waits_as_long_where_it_never_heard_another() {
    let mut script = advertising(Some(3));
    script.wait(T_ADV);
    script.wait(T_ADV);
    script.wait(T_ADV);
    assert!(script.broadcast.is_empty());
    script.wait(Duration::from_secs(270) + FIRST_MAX);
    script.broadcasts(LINK, 0, &advertise(1, 900));
}

#[test]
fn d09_a_stand_by_hears_answers_of_another_gateway_but_not_of_its_clients() {
    let mut script = advertising(Some(1));
    // T_ADV is not in GWINFO, so the own one is taken: until 990 s.
    script.wait(Duration::from_secs(980));
    script.says(OTHER, &info(2));
    script.wait(T_ADV);
    assert!(script.broadcast.is_empty());
    script.says(
        NODE,
        &Message::GwInfo(GwInfo {
            gw_id: 2,
            gw_addr: &[10, 0, 0, 2],
        }),
    );
    script.wait(Duration::from_secs(90) + FIRST_MAX);
    script.broadcasts(LINK, 0, &advertise(1, 900));
}

#[test]
fn d09_a_gateway_that_answers_keeps_the_interval_it_has_said() {
    let mut script = advertising(Some(2));
    script.wait(Duration::from_secs(1800));
    script.says(OTHER, &advertise(2, 300));
    script.wait(Duration::from_secs(300));
    script.says(OTHER, &info(2));
    script.wait(Duration::from_secs(659));
    assert!(script.broadcast.is_empty());
    script.wait(FIRST_MAX + SECOND);
    script.broadcasts(LINK, 0, &advertise(1, 900));
}

#[test]
fn an_upstream_that_comes_and_goes_does_not_put_the_first_advertise_off() {
    let mut script = advertising(None);
    for _ in 0..50 {
        script.upstream(UpstreamEvent::Disconnected);
        script.upstream(UpstreamEvent::Connected);
        script.wait(Duration::from_millis(100));
    }
    script.broadcasts(LINK, 0, &advertise(1, 900));
    assert!(script.broadcast.is_empty());
}

#[test]
fn gateways_that_have_gone_make_room_for_others() {
    let mut script = advertising(None);
    for gw_id in 2..=100 {
        script.says(node(gw_id.into()), &advertise(gw_id, 60));
    }
    assert!(script.drops().contains(&DropReason::GatewaysFull));
    script.wait(Duration::from_secs(3 * 66));
    script.says(OTHER, &advertise(101, 60));
    assert!(script.drops().is_empty());
}

#[test]
fn another_gateway_is_noticed_once_and_few_are_kept() {
    let mut script = advertising(None);
    for _ in 0..3 {
        for gw_id in 2..=100 {
            script.says(node(gw_id.into()), &advertise(gw_id, 900));
        }
    }
    let others = script.noticed(|notice| match notice {
        Notice::OtherGateway { gw_id, .. } => Some(Ok(gw_id)),
        Notice::Dropped { reason, .. } => Some(Err(reason)),
        _ => None,
    });
    let (known, refused): (Vec<_>, Vec<_>) = others.into_iter().partition(Result::is_ok);
    assert_eq!(known.len(), super::super::discovery::OTHERS_MAX);
    assert_eq!(refused.len(), 3 * 99 - 3 * 16);
    assert!(refused.contains(&Err(DropReason::GatewaysFull)));
    script.hears_nothing();
}

#[test]
fn a_gateway_with_our_id_is_a_fault_that_is_told_now_and_then() {
    let mut script = advertising(Some(2));
    let conflicts = |script: &mut Script| {
        script
            .noticed(|notice| match notice {
                Notice::GatewayIdTaken { gw_id, binding } => Some((gw_id, binding)),
                _ => None,
            })
            .len()
    };
    for _ in 0..20 {
        script.says(OTHER, &advertise(1, 900));
        script.says(OTHER, &info(1));
    }
    assert_eq!(conflicts(&mut script), 1);
    script.wait(Duration::from_secs(601));
    script.says(OTHER, &advertise(1, 900));
    assert_eq!(conflicts(&mut script), 1);
    // A client that gives our address says nothing of another gateway.
    script.wait(Duration::from_secs(601));
    script.says(
        NODE,
        &Message::GwInfo(GwInfo {
            gw_id: 1,
            gw_addr: &[10, 0, 0, 1],
        }),
    );
    assert_eq!(conflicts(&mut script), 0);
}
