//! The node's machine against a script: each test reads like the exchange it checks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its bytes are its own"
)]

mod connect;
mod discovery;
mod late;
mod lossy;
mod publish;
mod random;
mod receive;
mod register;
mod rig;
mod sleep;
mod subscribe;
mod table;
mod wake;
mod will;
