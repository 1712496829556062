//! Topic rules: what the gateway does for every publication and every subscription.
//!
//! `cargo bench -p shared --bench topics`

use std::hint::black_box;

use criterion::Criterion;
use shared::topics::{Filter, TopicName, matches};

const NAME: &str = "field/north/well/17/pump/2/pressure";

const FILTERS: [(&str, &str); 5] = [
    ("exact", NAME),
    ("plus", "field/+/well/+/pump/+/pressure"),
    ("hash", "field/#"),
    ("late_miss", "field/north/well/17/pump/2/temperature"),
    ("early_miss", "farm/#"),
];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("topics");
    for (what, filter) in FILTERS {
        group.bench_function(format!("matches/{what}"), |bencher| {
            bencher.iter(|| matches(black_box(filter), black_box(NAME)));
        });
    }
    group.bench_function("check/name", |bencher| {
        bencher.iter(|| TopicName::from_bytes(black_box(NAME.as_bytes())).is_ok());
    });
    group.bench_function("check/filter", |bencher| {
        bencher.iter(|| Filter::from_bytes(black_box(FILTERS[1].1.as_bytes())).is_ok());
    });
    group.finish();
    criterion.final_summary();
}
