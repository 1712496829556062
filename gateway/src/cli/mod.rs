//! The commands of `sandgrouse`.

pub mod decode;
