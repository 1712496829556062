//! Any bytes, parsed as a datagram.

#![no_main]

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| fuzz::targets::parse(datagram));
