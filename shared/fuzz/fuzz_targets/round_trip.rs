//! Any bytes, parsed as a datagram, emitted and parsed again.

#![no_main]

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| fuzz::targets::round_trip(datagram));
