//! The far end of a serial line, on a pseudo-terminal.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file includes this and takes what it needs"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use shared::frame::{FrameReader, Lead, encode, frame_len_max};

/// The far end of a line, the radio's side.
pub struct Radio(pub File);

impl Radio {
    /// Makes a line; the path is the gateway's end.
    pub fn new() -> (Self, PathBuf) {
        let pty = openpty(None, None).unwrap();
        let mut raw = tcgetattr(&pty.slave).unwrap();
        cfmakeraw(&mut raw);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &raw).unwrap();
        let path = nix::unistd::ttyname(&pty.slave).unwrap();
        (Self(File::from(pty.master)), path)
    }

    pub fn send(&mut self, datagram: &[u8]) {
        let bytes = frame(datagram);
        self.0.write_all(&bytes).unwrap();
    }

    /// Reads until `count` datagrams have come.
    pub fn receive(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        self.receive_while(|datagram| {
            datagrams.push(datagram);
            datagrams.len() < count
        });
        datagrams
    }

    /// Reads until `take` has had enough, or until the gateway has closed the line.
    pub fn receive_while(&mut self, mut take: impl FnMut(Vec<u8>) -> bool) {
        let mut reader = FrameReader::<1400>::new();
        let mut bytes = [0; 512];
        let mut goes_on = true;
        while goes_on && let Ok(len @ 1..) = self.0.read(&mut bytes) {
            let mut rest = &bytes[..len];
            while let Some(datagram) = reader.feed(&mut rest) {
                goes_on = take(datagram.to_vec());
            }
        }
        assert_eq!(reader.stats().broken(), 0);
    }
}

/// Returns the frame of a datagram as it is on the line.
pub fn frame(datagram: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; frame_len_max(datagram.len())];
    let len = encode(datagram, Lead::None, &mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}
