//! The simulated radio of one node: a bad link each way, and a UDP socket behind it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use anyhow::Context as _;
use app::Radio;
use heapless::Vec as FixedVec;
use shared::fault::{FaultLink, FaultProfile, GilbertElliott, PPM};
use shared::rng::Rng;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::event::{Loss, Way};
use super::stage::Stage;

/// The air between one node and the gateway.
pub(super) struct Air {
    stage: Rc<Stage>,
    node: usize,
    socket: UdpSocket,
    up: RefCell<Direction>,
    down: RefCell<Direction>,
    /// Frames that have reached the node's radio and wait to be read.
    inbox: RefCell<VecDeque<Frame>>,
    radio_is_on: Cell<bool>,
    /// Something was given to the way up.
    given: Notify,
    /// Something has come out of the way up, or into the inbox.
    moved: Notify,
}

impl Air {
    /// Opens the node's socket towards the gateway.
    pub(super) async fn open(
        stage: Rc<Stage>,
        node: usize,
        gateway: SocketAddr,
        profile: FaultProfile,
        rng: &mut Rng,
    ) -> anyhow::Result<Rc<Self>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("cannot open a node's socket")?;
        socket
            .connect(gateway)
            .await
            .context("cannot reach the gateway's link")?;
        Ok(Rc::new(Self {
            stage,
            node,
            socket,
            up: RefCell::new(Direction::new(profile, rng.next_u64())),
            down: RefCell::new(Direction::new(profile, rng.next_u64())),
            inbox: RefCell::default(),
            radio_is_on: Cell::new(false),
            given: Notify::new(),
            moved: Notify::new(),
        }))
    }

    /// Returns whose air it is.
    pub(super) const fn node(&self) -> usize {
        self.node
    }

    /// Carries frames both ways until it is dropped.
    pub(super) async fn carry(&self) {
        let mut buf = [0; FRAME_LEN_MAX + 1];
        loop {
            tokio::select! {
                received = self.socket.recv(&mut buf) => {
                    // An error tells of an earlier send, to a gateway that is gone.
                    if let Ok(len) = received {
                        self.send(Way::Down, &buf[..len]);
                    }
                }
                () = self.given.notified() => {}
                () = self.next_is_due() => {}
            }
            self.deliver_up().await;
            self.deliver_down();
        }
    }

    fn direction(&self, way: Way) -> &RefCell<Direction> {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    fn send(&self, way: Way, frame: &[u8]) {
        let fate = self
            .direction(way)
            .borrow_mut()
            .send(self.stage.now(), frame);
        self.stage.sent(self.node, way, frame, Loss::of(fate));
    }

    async fn next_is_due(&self) {
        let due = [&self.up, &self.down].map(|link| link.borrow().poll_timeout());
        match due.into_iter().flatten().min() {
            Some(due) => self.stage.sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    async fn deliver_up(&self) {
        while let Some(frame) = self.next(Way::Up) {
            self.stage.carried(self.node, Way::Up, &frame);
            // Loopback takes it, or the gateway is gone: then it is lost like any other frame.
            let _ = self.socket.send(&frame).await;
            self.moved.notify_one();
        }
    }

    fn deliver_down(&self) {
        while let Some(frame) = self.next(Way::Down) {
            if !self.radio_is_on.get() {
                self.stage
                    .lost(self.node, Way::Down, &frame, Loss::RadioOff);
                continue;
            }
            if self.inbox.borrow().len() == INBOX_MAX {
                self.stage.lost(self.node, Way::Down, &frame, Loss::Full);
                continue;
            }
            self.stage.carried(self.node, Way::Down, &frame);
            self.inbox.borrow_mut().push_back(frame);
            self.moved.notify_one();
        }
    }

    fn next(&self, way: Way) -> Option<Frame> {
        let now = self.stage.now();
        self.direction(way).borrow_mut().poll_deliver(now)
    }
}

/// The node's end of its air.
pub(super) struct AirRadio(pub(super) Rc<Air>);

impl Radio for AirRadio {
    type Error = Infallible;

    async fn power_up(&mut self) -> Result<(), Infallible> {
        self.0.radio_is_on.set(true);
        Ok(())
    }

    async fn power_down(&mut self) -> Result<(), Infallible> {
        while self.0.up.borrow().in_flight() > 0 {
            self.0.moved.notified().await;
        }
        self.0.radio_is_on.set(false);
        self.0.inbox.borrow_mut().clear();
        Ok(())
    }

    async fn transmit(&mut self, datagram: &[u8]) -> Result<(), Infallible> {
        self.0.send(Way::Up, datagram);
        self.0.given.notify_one();
        Ok(())
    }

    async fn receive(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        loop {
            let frame = self.0.inbox.borrow_mut().pop_front();
            match frame {
                Some(frame) if frame.len() <= buf.len() => {
                    buf[..frame.len()].copy_from_slice(&frame);
                    self.0.stage.heard(self.0.node, &frame);
                    return Ok(frame.len());
                }
                Some(_) => {}
                None => self.0.moved.notified().await,
            }
        }
    }
}

/// Returns a telemetry radio at the edge of its range that loses `loss_percent` of the frames,
/// half of them by chance and half in bursts of three.
///
/// What it corrupts is lost, too: UDP checks its datagrams as the radios check their frames.
pub(super) fn profile(loss_percent: u8) -> FaultProfile {
    // Two causes that each spare a share of q spare q² together.
    let each = 1.0 - (1.0 - f64::from(loss_percent.min(99)) / 100.0).sqrt();
    let radio = FaultProfile::lossy_serial();
    let exit_ppm = radio.burst.map_or(PPM / 3, |burst| burst.exit_ppm);
    // Bad for enter / (enter + exit) of the frames.
    let enter = f64::from(exit_ppm) * each / (1.0 - each);
    FaultProfile {
        loss_ppm: ppm(each * f64::from(PPM)),
        burst: Some(GilbertElliott {
            enter_ppm: ppm(enter),
            exit_ppm,
            loss_good_ppm: 0,
            loss_bad_ppm: PPM,
        }),
        corrupt_ppm: 0,
        ..radio
    }
}

/// Returns the nearest whole number up to certainty.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped beforehand"
)]
fn ppm(share: f64) -> u32 {
    share.round().clamp(0.0, f64::from(PPM)) as u32
}

type Direction = FaultLink<FRAMES_MAX, FRAME_LEN_MAX>;
type Frame = FixedVec<u8, FRAME_LEN_MAX>;

/// The frames on their way in one direction; a node has one or two.
const FRAMES_MAX: usize = 32;

/// The longest frame, that of the node application.
const FRAME_LEN_MAX: usize = app::settings::DATAGRAM_LEN_MAX;

/// The frames that a node may leave unread.
const INBOX_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_loses_what_was_asked_for() {
        for percent in [0, 1, 5, 20, 50, 90] {
            let mean = profile(percent).mean_loss_ppm();
            assert!(
                mean.abs_diff(u32::from(percent) * 10_000) < 100,
                "{percent} % became {mean} ppm"
            );
        }
    }

    #[test]
    fn at_a_fifth_it_is_the_preset() {
        let (ours, preset) = (profile(20), FaultProfile::lossy_serial());
        assert!(ours.loss_ppm.abs_diff(preset.loss_ppm) < 100);
        let enter = |profile: &FaultProfile| profile.burst.unwrap().enter_ppm;
        assert!(enter(&ours).abs_diff(enter(&preset)) < 100);
    }
}
