//! Client stacks in the field, played octet by octet as their sources say (digest A.20), with
//! the profiles that are made for them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tests::{
    MqttProbe, PATIENCE, ProbeOptions, Sandgrouse, SnSocket, config, free_tcp_port, free_udp_port,
};

#[test]
fn emcute_reads_what_is_repeated_to_it() -> Result<()> {
    let rig = Rig::start()?;
    let mut emcute = Stack::connect(&rig, "emcute-1", Kind::Emcute)?;
    let id = emcute.subscribe(0x40, b"e/x")?;
    for qos in 0..3 {
        let payload = [b'0' + qos];
        rig.probe.publish("e/x", &payload, qos, false)?;
        let got = emcute.next_publication()?;
        // Qos 2 comes at QoS 1, and none with a flag that it cannot read.
        ensure!(got.flags == 0x20 * u8::from(qos > 0), "{got:?}");
        ensure!((got.id, &got.payload[..]) == (id, &payload[..]), "{got:?}");
    }
    emcute.deaf_for = 1;
    rig.probe.publish("e/x", b"again", 1, false)?;
    for _ in 0..2 {
        let got = emcute.next_publication()?;
        ensure!(got.flags == 0x20 && got.payload == b"again", "{got:?}");
    }
    ensure!(emcute.refused == 0, "it could not read something");
    ensure!(emcute.silence()?, "the repetition was enough");
    Ok(())
}

/// The test sees what it is for.
#[test]
fn without_its_profile_emcute_loses_what_is_repeated_to_it() -> Result<()> {
    let rig = Rig::start()?;
    let mut emcute = Stack::connect(&rig, "standard", Kind::Emcute)?;
    emcute.subscribe(0x20, b"e/x")?;
    emcute.deaf_for = 1;
    rig.probe.publish("e/x", b"again", 1, false)?;
    emcute.next_publication()?;
    ensure!(
        emcute.silence()? && emcute.refused == 1,
        "{}",
        emcute.refused
    );
    Ok(())
}

#[test]
fn emcute_and_asymcute_are_told_that_they_cannot_use_wildcards() -> Result<()> {
    let rig = Rig::start()?;
    for (name, kind) in [("emcute-1", Kind::Emcute), ("asymcute-1", Kind::Asymcute)] {
        let mut stack = Stack::connect(&rig, name, kind)?;
        let refused = stack.subscribe(0x20, b"e/#").err().context("granted")?;
        ensure!(refused.to_string() == "SUBACK 3", "{refused}");
    }
    Ok(())
}

#[test]
fn asymcute_keeps_its_ids_when_it_connects_again() -> Result<()> {
    let rig = Rig::start()?;
    let mut asymcute = Stack::connect(&rig, "asymcute-1", Kind::Asymcute)?;
    let id = asymcute.subscribe(0x40, b"a/x")?;
    rig.probe.publish("a/x", b"1", 2, false)?;
    let got = asymcute.next_publication()?;
    ensure!((got.flags, got.id) == (0x20, id), "{got:?}");

    // It would never answer a REGISTER, and so never get anything again.
    asymcute.open_session()?;
    rig.probe.publish("a/x", b"2", 1, false)?;
    let got = asymcute.next_publication()?;
    ensure!((got.flags, got.id) == (0x20, id), "{got:?}");
    ensure!(asymcute.registers == 0, "it was sent REGISTER");
    Ok(())
}

#[test]
fn zephyr_is_sent_no_empty_payload_and_each_register_once() -> Result<()> {
    let rig = Rig::start()?;
    let mut zephyr = Stack::connect(&rig, "zephyr-1", Kind::Zephyr)?;
    zephyr.subscribe(0x20, b"z/#")?;
    rig.probe.publish("z/1", b"", 1, false)?;
    rig.probe.publish("z/1", b"full", 1, false)?;
    let got = zephyr.next_publication()?;
    ensure!(got.payload == b"full" && zephyr.registers == 1, "{got:?}");

    zephyr.open_session()?;
    rig.probe.publish("z/1", b"known", 1, false)?;
    let again = zephyr.next_publication()?;
    ensure!(again.id == got.id && again.payload == b"known", "{again:?}");
    ensure!(zephyr.registers == 1, "{} REGISTERs", zephyr.registers);
    Ok(())
}

#[test]
fn zephyr_without_a_free_slot_gets_what_it_has_slots_for() -> Result<()> {
    let rig = Rig::start()?;
    let mut zephyr = Stack::connect(&rig, "zephyr-1", Kind::Zephyr)?;
    zephyr.subscribe(0x20, b"z/#")?;
    zephyr.slots = 1;
    rig.probe.publish("z/1", b"first", 1, false)?;
    ensure!(zephyr.next_publication()?.payload == b"first", "first");
    // It has no room for this name, and says nothing.
    rig.probe.publish("z/2", b"lost", 1, false)?;
    rig.probe.publish("z/1", b"second", 1, false)?;
    let start = Instant::now();
    loop {
        zephyr.ping()?;
        match zephyr.publication_within(QUIET)? {
            Some(got) => {
                ensure!(got.payload == b"second", "{got:?}");
                break;
            }
            None => ensure!(start.elapsed() < PATIENCE, "held up for good"),
        }
    }
    rig.probe.publish("z/2", b"lost", 1, false)?;
    rig.probe.publish("z/1", b"third", 1, false)?;
    let registers = zephyr.registers;
    ensure!(zephyr.next_publication()?.payload == b"third", "third");
    ensure!(zephyr.registers == registers, "it was asked again");
    Ok(())
}

#[test]
fn zephyr_that_takes_the_answer_to_its_sleep_for_the_end_comes_back() -> Result<()> {
    let rig = Rig::start()?;
    let mut zephyr = Stack::connect(&rig, "zephyr-1", Kind::Zephyr)?;
    zephyr.subscribe(0x20, b"z/x")?;
    zephyr.socket.send_bytes(b"\x04\x18\x00\x3c")?;
    ensure!(
        zephyr.receive(PATIENCE)? == Some(b"\x02\x18".to_vec()),
        "asleep"
    );
    rig.probe.publish("z/x", b"kept", 1, false)?;
    ensure!(zephyr.silence()?, "it sleeps");
    zephyr.open_session()?;
    ensure!(zephyr.next_publication()?.payload == b"kept", "kept");
    Ok(())
}

#[test]
fn the_long_name_of_a_paho_publication_without_a_connection_is_read() -> Result<()> {
    let rig = Rig::start()?;
    let before = rig.probe.count();
    let socket = SnSocket::open(rig.gateway.address())?;
    // [R] A.15: the topic id is the length of the name, which stands before the payload.
    socket.send_bytes(b"\x0c\x0c\x60\x00\x03\x00\x00p/xup")?;
    let seen = rig.probe.wait_for(before + 1, PATIENCE)?;
    let last = seen.last().context("nothing")?;
    ensure!(
        (&*last.topic, &last.payload[..]) == ("p/x", &b"up"[..]),
        "{last:?}"
    );
    Ok(())
}

/// A gateway with the embedded broker and a profile for each stack.
struct Rig {
    gateway: Sandgrouse,
    probe: MqttProbe,
}

impl Rig {
    fn start() -> Result<Self> {
        let (udp_port, mqtt_port) = (free_udp_port()?, free_tcp_port()?);
        let mut text = config::udp_with_embedded_broker(udp_port, mqtt_port);
        text += "t_retry = \"150ms\"\nn_retry = 2\n";
        for profile in ["emcute", "asymcute", "zephyr", "paho"] {
            text += &format!("[[node]]\nmatch = \"{profile}-*\"\nprofile = \"{profile}\"\n");
        }
        text += "[qos_minus_one]\nlong_names = true\n[[qos_minus_one.allow]]\nlink = \"udp\"\n\
                 from = [\"127.0.0.0/8\"]\ntopics = [\"p/#\"]\n";
        Ok(Self {
            gateway: Sandgrouse::with_config(udp_port, text)?,
            probe: MqttProbe::start(ProbeOptions::at(mqtt_port, &["p/#"]))?,
        })
    }
}

/// Which stack is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// RIOT emcute.
    Emcute,
    /// RIOT asymcute.
    Asymcute,
    /// Zephyr's `mqtt_sn`.
    Zephyr,
}

/// A client stack as far as the gateway can see it.
struct Stack {
    socket: SnSocket,
    client_id: String,
    kind: Kind,
    next_id: u16,
    /// Publications that it is sent and does not answer yet.
    deaf_for: u32,
    /// Names it has room for yet (Zephyr).
    slots: u32,
    /// REGISTERs that it was sent.
    registers: u32,
    /// Publications that it could not read.
    refused: u32,
}

/// A PUBLISH as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Publication {
    flags: u8,
    id: u16,
    payload: Vec<u8>,
}

impl Stack {
    fn connect(rig: &Rig, client_id: &str, kind: Kind) -> Result<Self> {
        let mut stack = Self {
            socket: SnSocket::open(rig.gateway.address())?,
            client_id: client_id.to_owned(),
            kind,
            next_id: 1,
            deaf_for: 0,
            slots: u32::MAX,
            registers: 0,
            refused: 0,
        };
        stack.open_session()?;
        Ok(stack)
    }

    fn open_session(&mut self) -> Result<()> {
        let len = u8::try_from(6 + self.client_id.len())?;
        let mut connect = vec![len, 0x04, 0x00, 0x01, 0x00, 0x3c];
        connect.extend_from_slice(self.client_id.as_bytes());
        self.socket.send_bytes(&connect)?;
        let answer = self.receive(PATIENCE)?;
        ensure!(answer == Some(vec![3, 0x05, 0]), "CONNACK: {answer:?}");
        Ok(())
    }

    /// Subscribes and returns the topic id.
    fn subscribe(&mut self, flags: u8, name: &[u8]) -> Result<u16> {
        let [high, low] = self.next_id.to_be_bytes();
        self.next_id += 1;
        let len = u8::try_from(5 + name.len())?;
        let mut subscribe = vec![len, 0x12, flags, high, low];
        subscribe.extend_from_slice(name);
        self.socket.send_bytes(&subscribe)?;
        let answer = self.receive(PATIENCE)?.context("no SUBACK")?;
        let [8, 0x13, granted, id_high, id_low, a, b, code] = answer[..] else {
            bail!("SUBACK: {answer:?}");
        };
        ensure!([a, b] == [high, low], "SUBACK: {answer:?}");
        ensure!(code == 0, "SUBACK {code}");
        let most = if self.kind == Kind::Zephyr {
            0x40
        } else {
            0x20
        };
        ensure!(granted & 0x60 <= most, "granted {granted:#04x}");
        Ok(u16::from_be_bytes([id_high, id_low]))
    }

    fn ping(&mut self) -> Result<()> {
        self.socket.send_bytes(&[2, 0x16])
    }

    fn next_publication(&mut self) -> Result<Publication> {
        self.publication_within(PATIENCE)?
            .context("no publication came")
    }

    /// Returns whether nothing comes for a while.
    fn silence(&mut self) -> Result<bool> {
        Ok(self.publication_within(QUIET)?.is_none())
    }

    /// Answers what comes as the stack does, up to a publication that it can read.
    fn publication_within(&mut self, patience: Duration) -> Result<Option<Publication>> {
        let start = Instant::now();
        while let Some(left) = patience.checked_sub(start.elapsed()) {
            let Some(message) = self.receive(left)? else {
                return Ok(None);
            };
            match message[..] {
                [_, 0x0A, id_high, id_low, a, b, ..] => {
                    self.registers += 1;
                    if self.kind == Kind::Zephyr && self.slots > 0 {
                        self.slots -= 1;
                        self.socket
                            .send_bytes(&[7, 0x0B, id_high, id_low, a, b, 0])?;
                    }
                }
                [_, 0x0C, flags, id_high, id_low, a, b, ref payload @ ..] => {
                    let id = [id_high, id_low];
                    let read = self.can_read(flags);
                    let answer = [7, 0x0D, id_high, id_low, a, b, if read { 0 } else { 3 }];
                    if !read {
                        self.refused += 1;
                        self.socket.send_bytes(&answer)?;
                        continue;
                    }
                    if self.deaf_for > 0 {
                        self.deaf_for -= 1;
                    } else if flags & 0x60 == 0x20 {
                        self.socket.send_bytes(&answer)?;
                    }
                    return Ok(Some(Publication {
                        flags,
                        id: u16::from_be_bytes(id),
                        payload: payload.to_vec(),
                    }));
                }
                [2, 0x17] => {}
                _ => bail!("{:?} is sent {message:?}", self.kind),
            }
        }
        Ok(None)
    }

    /// Emcute refuses every flag that is not one of QoS 1, Retain or the short type.
    fn can_read(&self, flags: u8) -> bool {
        match self.kind {
            Kind::Emcute => flags & !(0x20 | 0x10 | 0x02) == 0,
            Kind::Asymcute | Kind::Zephyr => flags & 0x60 != 0x40,
        }
    }

    fn receive(&self, patience: Duration) -> Result<Option<Vec<u8>>> {
        Ok(self.socket.receive(patience)?.map(|datagram| datagram.0))
    }
}

/// Longer than all repetitions take.
const QUIET: Duration = Duration::from_millis(800);
