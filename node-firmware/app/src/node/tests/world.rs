//! A board, a link and a gateway in one thread, with a clock that leaps to what comes next.

use core::cell::RefCell;
use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;

use super::super::*;
use super::gateway::Gateway;
use crate::ports::Sample;
use crate::record::Kind;
use crate::settings::SETTINGS_LEN_MAX;

/// What all parts share.
#[derive(Clone)]
pub(super) struct World(Rc<RefCell<Inner>>);

pub(super) struct Inner {
    pub(super) now: Instant,
    pub(super) gateway: Gateway,
    pub(super) led: bool,
    pub(super) radio_on: bool,
    pub(super) radio_broken: bool,
    pub(super) power_ups: u32,
    pub(super) samples: i32,
    /// Lost datagrams in either direction, in parts per million.
    pub(super) loss_ppm: u32,
    pub(super) storage: [Option<Vec<u8>>; 2],
    pub(super) saves: u32,
    rng: Rng,
    /// Datagrams on their way to the node, by arrival.
    to_node: VecDeque<(Instant, Vec<u8>)>,
    deadlines: Vec<Instant>,
}

impl World {
    pub(super) fn new(settings: &Settings, seed: u64) -> Self {
        let mut buf = [0; SETTINGS_LEN_MAX];
        let payload = postcard::to_slice(settings, &mut buf).unwrap().to_vec();
        Self(Rc::new(RefCell::new(Inner {
            now: Instant::from_millis(1000),
            gateway: Gateway::default(),
            led: false,
            radio_on: false,
            radio_broken: false,
            power_ups: 0,
            samples: 0,
            loss_ppm: 0,
            storage: [Some(payload), None],
            saves: 0,
            rng: Rng::new(seed),
            to_node: VecDeque::new(),
            deadlines: Vec::new(),
        })))
    }

    pub(super) fn parts(&self) -> Parts<Self, Self, Self, Self, Self> {
        Parts {
            radio: self.clone(),
            storage: self.clone(),
            sensor: self.clone(),
            power: self.clone(),
            clock: self.clone(),
        }
    }

    pub(super) fn node(&self) -> Node<Self, Self, Self, Self, Self> {
        self.run(Node::start(self.parts()), Instant::from_millis(u64::MAX))
            .unwrap()
            .unwrap()
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.0.borrow_mut())
    }

    /// Runs `future` until it is done, or until `end`.
    pub(super) fn run<F: Future>(&self, future: F, end: Instant) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            self.with(|w| w.deadlines.clear());
            if let Poll::Ready(out) = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                return Some(out);
            }
            let next = self.with(|w| {
                let arrival = w.to_node.front().map(|(at, _)| *at);
                w.deadlines.iter().copied().chain(arrival).min()
            });
            let next = next.expect("the node waits for nothing at all");
            self.with(|w| {
                w.now = w.now.max(next.min(end));
                if !w.radio_on {
                    let now = w.now;
                    w.to_node.retain(|(at, _)| *at > now);
                }
            });
            if next > end {
                return None;
            }
        }
    }

    fn wait_until(&self, deadline: Instant) -> impl Future<Output = ()> {
        poll_fn(move |_| {
            self.with(|w| {
                if w.now >= deadline {
                    return Poll::Ready(());
                }
                w.deadlines.push(deadline);
                Poll::Pending
            })
        })
    }
}

impl Inner {
    fn lost(&mut self) -> bool {
        self.rng.chance_ppm(self.loss_ppm)
    }

    fn deliver(&mut self, datagrams: Vec<Vec<u8>>) {
        for datagram in datagrams {
            if !self.lost() {
                self.to_node.push_back((self.now + ONE_WAY, datagram));
            }
        }
    }
}

impl Radio for World {
    type Error = Broken;

    async fn power_up(&mut self) -> Result<(), Broken> {
        self.with(|w| {
            w.power_ups += 1;
            w.radio_on = !w.radio_broken;
            if w.radio_broken { Err(Broken) } else { Ok(()) }
        })
    }

    async fn power_down(&mut self) -> Result<(), Broken> {
        self.with(|w| w.radio_on = false);
        Ok(())
    }

    async fn transmit(&mut self, datagram: &[u8]) -> Result<(), Broken> {
        self.with(|w| {
            assert!(w.radio_on, "the radio is off");
            if !w.lost() {
                let answers = w.gateway.take(datagram);
                w.deliver(answers);
            }
        });
        Ok(())
    }

    async fn receive(&mut self, buf: &mut [u8]) -> Result<usize, Broken> {
        poll_fn(|_| {
            self.with(|w| {
                let now = w.now;
                match w.to_node.front() {
                    Some((at, _)) if *at <= now => {}
                    _ => return Poll::Pending,
                }
                let (_, datagram) = w.to_node.pop_front().unwrap();
                buf[..datagram.len()].copy_from_slice(&datagram);
                Poll::Ready(Ok(datagram.len()))
            })
        })
        .await
    }
}

impl Storage for World {
    type Error = Infallible;

    async fn load(&mut self, kind: Kind, buf: &mut [u8]) -> Result<Option<usize>, Infallible> {
        Ok(self.with(|w| {
            let record = w.storage[kind as usize - 1].as_ref()?;
            buf[..record.len()].copy_from_slice(record);
            Some(record.len())
        }))
    }

    async fn save(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Infallible> {
        self.with(|w| {
            w.saves += 1;
            w.storage[kind as usize - 1] = Some(payload.to_vec());
        });
        Ok(())
    }
}

impl Sensor for World {
    type Error = Infallible;

    async fn sample(&mut self) -> Result<Sample, Infallible> {
        Ok(self.with(|w| {
            w.samples += 1;
            Sample {
                value_milli: w.samples,
                battery_mv: 3300,
            }
        }))
    }
}

impl Power for World {
    async fn sleep(&mut self, span: Duration) {
        let end = self.with(|w| {
            assert!(!w.radio_on, "asleep with the radio on");
            w.now + span
        });
        self.wait_until(end).await;
    }

    fn switch_led(&mut self, on: bool) {
        self.with(|w| w.led = on);
    }
}

impl Clock for World {
    fn now(&self) -> Instant {
        self.with(|w| w.now)
    }

    async fn wait_until(&self, deadline: Instant) {
        Self::wait_until(self, deadline).await;
    }
}

/// What a broken radio reports.
#[derive(Debug)]
pub(super) struct Broken;

/// The delay of the link, one way.
const ONE_WAY: Duration = Duration::from_millis(50);
