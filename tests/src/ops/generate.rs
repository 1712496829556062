//! Scripts by seed: scenes that lead somewhere, and everything else in between.

use shared::rng::Rng;
use shared::wire::{Disconnect, Message, PingReq, QoS, ReturnCode};

use super::messages::{self, emit};
use super::operation::{Event, LinkChange, Operation, Reply, Wait};
use super::places::{
    CLIENT_IDS, FILTERS, GOOD_CLIENT_IDS, GOOD_PLACES, PLACES, PREDEFINED, Place, TOPICS,
};
use super::setup::{maybe, pick};

/// Returns the operations of a seed, `len` of them.
#[must_use]
pub fn script(seed: u64, len: usize) -> Vec<Operation> {
    let mut rng = Rng::new(seed);
    let homes = std::array::from_fn(|_| place(&mut rng));
    let cast = 1 + rng.below(GOOD_CLIENT_IDS);
    let mut author = Author {
        rng,
        homes,
        cast,
        list: vec![Operation::Upstream(Event::Connected)],
    };
    while author.list.len() < len {
        author.scene();
    }
    author.list.truncate(len);
    author.list
}

struct Author {
    rng: Rng,
    /// Where each of the good client ids is mostly heard.
    homes: [Place; GOOD_CLIENT_IDS as usize],
    /// How many of them play.
    cast: u64,
    list: Vec<Operation>,
}

impl Author {
    fn scene(&mut self) {
        match self.rng.below(100) {
            0..8 => self.arrive(),
            8..16 => self.subscribe(),
            16..26 => self.deliver(),
            26..31 => self.fall_asleep(),
            31..36 => self.wake(),
            36..44 => self.publish(),
            44..64 => {
                let bytes = messages::any(&mut self.rng);
                let place = self.somewhere();
                self.say(place, bytes);
            }
            64..68 => {
                let bytes = messages::raw(&mut self.rng);
                let place = any_place(&mut self.rng);
                self.list.push(Operation::Raw { place, bytes });
            }
            68..76 => self.answer(),
            76..80 => {
                let place = self.somewhere();
                self.repeat(place);
            }
            80..87 => {
                let event = self.event();
                self.list.push(Operation::Upstream(event));
            }
            87 => {
                let requests = self.small(4);
                self.list.push(Operation::Full(requests));
            }
            88 | 89 => self.link(),
            90..96 => self.wait(),
            96..98 => self.fall_silent(),
            98 => self.pause(),
            _ if maybe(&mut self.rng, 15) => self.list.push(Operation::Shutdown),
            _ if maybe(&mut self.rng, 40) => {
                let seed = self.rng.next_u64();
                self.list.push(Operation::Reconfigure(seed));
            }
            _ => self.move_house(),
        }
    }

    /// A node connects, with its will where it has one.
    fn arrive(&mut self) {
        let (client, place) = self.node();
        let (clean, will) = (maybe(&mut self.rng, 40), maybe(&mut self.rng, 40));
        let duration_s = messages::duration_s(&mut self.rng);
        self.say(place, messages::connect(client, clean, will, duration_s));
        if will {
            self.right(place);
            self.right(place);
        }
    }

    /// A node subscribes, and the broker answers.
    fn subscribe(&mut self) {
        let (_, place) = self.node();
        let bytes = messages::subscribe(&mut self.rng);
        self.say(place, bytes);
        if maybe(&mut self.rng, 85) {
            self.list.push(Operation::Upstream(Event::Subscribed {
                index: 0,
                less: maybe(&mut self.rng, 15),
                result: 0,
            }));
        }
    }

    /// The broker sends something, and someone answers.
    fn deliver(&mut self) {
        for _ in 0..1 + self.rng.below(3) {
            let event = self.delivery();
            self.list.push(Operation::Upstream(event));
        }
        self.serve();
    }

    /// A node says anything at all in the middle of something.
    fn interrupt(&mut self) {
        let (_, place) = self.node();
        let bytes = messages::any(&mut self.rng);
        self.say(place, bytes);
    }

    /// A node answers what it is told, for a while, and says something else in between.
    fn serve(&mut self) {
        let (_, place) = self.node();
        for _ in 0..self.rng.below(8) {
            match self.rng.below(12) {
                0 => self.answer(),
                1 => self.interrupt(),
                _ => self.right(place),
            }
        }
    }

    fn fall_asleep(&mut self) {
        let (_, place) = self.node();
        let duration_s = Some(messages::duration_s(&mut self.rng).max(1));
        self.say(place, emit(&Message::Disconnect(Disconnect { duration_s })));
        for _ in 0..self.rng.below(4) {
            let event = self.delivery();
            self.list.push(Operation::Upstream(event));
        }
    }

    fn wake(&mut self) {
        let (client, home) = self.node();
        let place = if maybe(&mut self.rng, 20) {
            place(&mut self.rng)
        } else {
            home
        };
        let client_id = if maybe(&mut self.rng, 85) {
            client
        } else {
            b""
        };
        self.say(place, emit(&Message::PingReq(PingReq { client_id })));
        for _ in 0..self.rng.below(7) {
            match self.rng.below(10) {
                0 => {
                    let bytes = messages::any(&mut self.rng);
                    self.say(place, bytes);
                }
                1 => self.answer(),
                _ => self.right(place),
            }
        }
    }

    /// A node publishes, and the broker answers.
    fn publish(&mut self) {
        let (_, place) = self.node();
        let qos = pick(
            &mut self.rng,
            &[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce],
        );
        let bytes = messages::publish(&mut self.rng, qos);
        self.say(place, bytes);
        if maybe(&mut self.rng, 80) {
            let index = self.small(2);
            let result = 0;
            self.list
                .push(Operation::Upstream(Event::Published { index, result }));
        }
        if maybe(&mut self.rng, 60) {
            self.right(place);
        }
    }

    /// Something is sent to a node that does not answer any more.
    fn fall_silent(&mut self) {
        let event = self.delivery();
        self.list.push(Operation::Upstream(event));
        let deadlines = 1 + self.small(16);
        self.list.push(Operation::Wait(Wait::Deadlines(deadlines)));
        self.interrupt();
    }

    /// A node asks to be left alone.
    fn pause(&mut self) {
        let event = self.delivery();
        self.list.push(Operation::Upstream(event));
        for place in 0..GOOD_PLACES {
            self.list.push(Operation::Answer {
                place,
                back: 0,
                how: Reply::Code(ReturnCode::Congestion),
            });
        }
        self.interrupt();
        self.interrupt();
    }

    /// A node is heard elsewhere from now on.
    fn move_house(&mut self) {
        let client = usize::from(self.small(self.homes.len() as u64));
        self.homes[client] = place(&mut self.rng);
    }

    fn answer(&mut self) {
        let how = match self.rng.below(8) {
            0..3 => Reply::Right,
            3 => Reply::Code(ReturnCode::InvalidTopicId),
            4 => Reply::Code(pick(
                &mut self.rng,
                &[
                    ReturnCode::Congestion,
                    ReturnCode::NotSupported,
                    ReturnCode::Reserved(9),
                ],
            )),
            5 => Reply::OtherId,
            6 => Reply::OtherTopic,
            _ => Reply::OtherKind,
        };
        let place = self.somewhere();
        let back = if maybe(&mut self.rng, 70) {
            0
        } else {
            self.small(4)
        };
        self.list.push(Operation::Answer { place, back, how });
    }

    fn repeat(&mut self, place: Place) {
        let back = if maybe(&mut self.rng, 70) {
            0
        } else {
            self.small(4)
        };
        let dup = maybe(&mut self.rng, 70);
        self.list.push(Operation::Repeat { place, back, dup });
    }

    fn event(&mut self) -> Event {
        let rng = &mut self.rng;
        match rng.below(16) {
            0 => Event::Connected,
            1 => Event::Disconnected,
            2..6 => Event::Published {
                index: rng.below(5) as u8,
                result: rng.below(3) as u8,
            },
            6 => Event::PublishedUnknown(rng.below(40)),
            7..11 => Event::Subscribed {
                index: rng.below(4) as u8,
                less: maybe(rng, 30),
                result: pick(rng, &[0, 0, 1, 2]),
            },
            11 => Event::SubscribedUnknown(pick(rng, &FILTERS).to_vec()),
            _ => self.delivery(),
        }
    }

    fn delivery(&mut self) -> Event {
        let rng = &mut self.rng;
        let name = match rng.below(8) {
            0 => "ab",
            1 => pick(rng, &PREDEFINED).1,
            2..5 => "t/1",
            _ => std::str::from_utf8(TOPICS[rng.below(7) as usize]).unwrap(),
        };
        let filters = if maybe(rng, 20) {
            (0..rng.below(3))
                .map(|_| String::from_utf8_lossy(pick(rng, &FILTERS)).into_owned())
                .collect()
        } else {
            Vec::new()
        };
        Event::Delivery {
            topic: name.to_owned(),
            len: pick(rng, &[0, 1, 5, 5, 30, 90, 1100]),
            qos: pick(rng, &[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
            retain: maybe(rng, 25),
            expiry_s: maybe(rng, 20).then(|| pick(rng, &[0, 1, 30, u32::MAX])),
            filters,
        }
    }

    fn link(&mut self) {
        let what = match self.rng.below(4) {
            0 => LinkChange::Down,
            1 => LinkChange::Up,
            _ => LinkChange::Busy(pick(&mut self.rng, &[1, 3000, 60_000])),
        };
        let link = pick(&mut self.rng, &[0, 1, 2, 2, 5]);
        self.list.push(Operation::Link { link, what });
    }

    fn wait(&mut self) {
        let millis = pick(
            &mut self.rng,
            &[1, 500, 2000, 5000, 11_000, 31_000, 61_000, 130_000, 700_000],
        );
        let wait = match self.rng.below(6) {
            0..3 => Wait::Deadlines(1 + self.small(3)),
            3 | 4 => Wait::Millis(millis),
            _ => Wait::Stall {
                millis,
                late: maybe(&mut self.rng, 50),
            },
        };
        self.list.push(Operation::Wait(wait));
    }

    fn right(&mut self, place: Place) {
        self.list.push(Operation::Answer {
            place,
            back: 0,
            how: Reply::Right,
        });
    }

    fn say(&mut self, place: Place, bytes: Vec<u8>) {
        self.list.push(Operation::Say { place, bytes });
    }

    /// Returns where something is said: mostly where a node is at home.
    fn somewhere(&mut self) -> Place {
        if maybe(&mut self.rng, 85) {
            self.node().1
        } else {
            any_place(&mut self.rng)
        }
    }

    /// Returns one of the good client ids, and where it is mostly heard.
    fn node(&mut self) -> (&'static [u8], Place) {
        let client = usize::try_from(self.rng.below(self.cast)).unwrap();
        (CLIENT_IDS[client], self.homes[client])
    }

    fn small(&mut self, bound: u64) -> u8 {
        u8::try_from(self.rng.below(bound)).unwrap()
    }
}

fn place(rng: &mut Rng) -> Place {
    u8::try_from(rng.below(u64::from(GOOD_PLACES))).unwrap()
}

fn any_place(rng: &mut Rng) -> Place {
    u8::try_from(rng.below(u64::from(PLACES))).unwrap()
}
