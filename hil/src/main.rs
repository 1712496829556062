//! Rigs, scenarios and a judge.
fn main() {}
