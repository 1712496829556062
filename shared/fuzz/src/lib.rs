//! The fuzz targets' bodies; `fuzz_targets` only hands libFuzzer's bytes to them.

pub mod targets;
