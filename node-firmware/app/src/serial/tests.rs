use core::convert::Infallible;
use std::collections::VecDeque;
use std::vec::Vec;

use embassy_futures::block_on;
use embedded_io_async::ErrorType;
use shared::frame::encode;

use super::*;

/// A line whose reader gets `chunk` octets at a time, and that hangs up when it has no more.
#[derive(Default)]
struct Line {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
    chunk: usize,
}

impl ErrorType for Line {
    type Error = Infallible;
}

impl Read for Line {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        let len = buf.len().min(self.chunk).min(self.incoming.len());
        for (place, octet) in buf.iter_mut().zip(self.incoming.drain(..len)) {
            *place = octet;
        }
        Ok(len)
    }
}

impl Write for Line {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        self.outgoing.extend_from_slice(buf);
        Ok(buf.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

const PINGRESP: &[u8] = b"\x02\x17";
const DISCONNECT: &[u8] = b"\x02\x18";

fn node(octet: u8) -> NodeId {
    NodeId::new(&[octet]).unwrap()
}

fn framed(node_id: Option<NodeId>, message: &[u8]) -> Vec<u8> {
    let mut frame = [0; 64];
    let len = encode_message(node_id.as_ref(), message, Lead::None, &mut frame).unwrap();
    frame[..len].to_vec()
}

fn radio(node_id: Option<NodeId>, chunk: usize, parts: &[&[u8]]) -> SerialRadio<Line> {
    let line = Line {
        incoming: parts.concat().into(),
        chunk,
        ..Line::default()
    };
    SerialRadio::new(line, node_id)
}

fn receive(radio: &mut SerialRadio<Line>) -> Result<Vec<u8>, SerialError> {
    let mut buf = [0; DATAGRAM_LEN_MAX];
    let len = block_on(radio.receive(&mut buf))?;
    Ok(buf[..len].to_vec())
}

#[test]
fn datagrams_come_whole_however_the_line_cuts_them() {
    for chunk in 1..20 {
        let parts = [framed(None, PINGRESP), framed(None, DISCONNECT)];
        let mut radio = radio(None, chunk, &[b"garbage\0", &parts[0], &parts[1]]);
        assert_eq!(receive(&mut radio).unwrap(), PINGRESP);
        assert_eq!(receive(&mut radio).unwrap(), DISCONNECT);
        assert_eq!(receive(&mut radio), Err(SerialError::Closed));
        assert_eq!(radio.stats().frames, 2);
    }
}

#[test]
fn a_named_node_hears_itself_and_everyone_but_not_the_others() {
    let parts = [
        framed(Some(node(8)), PINGRESP),
        framed(Some(node(7)), DISCONNECT),
        framed(None, PINGRESP),
    ];
    let mut radio = radio(Some(node(7)), 16, &[&parts.concat()]);
    assert_eq!(receive(&mut radio).unwrap(), DISCONNECT);
    assert_eq!(receive(&mut radio).unwrap(), PINGRESP);
    assert_eq!(receive(&mut radio), Err(SerialError::Closed));
    assert_eq!(radio.foreign(), 1);
}

#[test]
fn what_a_named_node_sends_carries_its_name() {
    let mut radio = radio(Some(node(7)), 16, &[]);
    block_on(radio.transmit(PINGRESP)).unwrap();
    let mut expected = [0; 64];
    let datagram = b"\x04\xFE\x00\x07\x02\x17";
    let len = encode(datagram, Lead::Delimiter, &mut expected).unwrap();
    assert_eq!(radio.line.outgoing, &expected[..len]);
}

#[test]
fn what_fits_no_frame_is_refused() {
    let mut radio = radio(None, 16, &[]);
    assert_eq!(block_on(radio.transmit(&[])), Err(SerialError::Datagram));
    assert_eq!(
        block_on(radio.transmit(&[1; 512])),
        Err(SerialError::Datagram)
    );
}

#[test]
fn a_datagram_longer_than_the_buffer_is_dropped() {
    let parts = [framed(None, &[9; 40]), framed(None, PINGRESP)];
    let mut radio = radio(None, 16, &[&parts.concat()]);
    let mut buf = [0; 8];
    assert_eq!(block_on(radio.receive(&mut buf)), Ok(2));
    assert_eq!(&buf[..2], PINGRESP);
}
