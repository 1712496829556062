//! The `sandgrouse` command.
fn main() {}
