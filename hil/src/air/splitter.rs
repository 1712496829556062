//! From bytes on a line to frames as they are on the air.

use shared::frame::DELIMITER;

use super::FRAME_LEN_MAX;

/// Cuts a stream of bytes behind each delimiter and keeps every byte: what the frame cost on
/// the air is what its sender wrote, a leading delimiter included.
#[derive(Debug, Default)]
pub struct FrameSplitter {
    frame: Vec<u8>,
}

impl FrameSplitter {
    /// Takes one byte and returns the frame that it completes.
    pub fn push(&mut self, byte: u8) -> Option<Vec<u8>> {
        self.frame.push(byte);
        let content = self.frame.iter().any(|&octet| octet != DELIMITER);
        // A line that never ends a frame must not fill the memory: it is cut like any frame.
        let ended = byte == DELIMITER && content;
        if ended || self.frame.len() == FRAME_LEN_MAX {
            return Some(std::mem::take(&mut self.frame));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut splitter = FrameSplitter::default();
        bytes.iter().filter_map(|&b| splitter.push(b)).collect()
    }

    #[test]
    fn a_leading_delimiter_belongs_to_the_frame_behind_it() {
        assert_eq!(split(&[0, 1, 2, 0, 3, 0]), [vec![0, 1, 2, 0], vec![3, 0]]);
        assert_eq!(split(&[1, 2]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn garbage_without_an_end_is_cut() {
        assert_eq!(split(&vec![7; 3 * FRAME_LEN_MAX]).len(), 3);
    }
}
