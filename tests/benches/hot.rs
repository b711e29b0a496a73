//! Time and allocations an event of each piece of the hot path.
//!
//! `cargo bench -p shardwright-testkit --bench hot`; a run goes through 1,000 events.

mod cases;

use cases::{EVENTS, Session, keep, payloads, scan};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use shardwright_core::Compression;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = [Compression::None, Compression::Zlib, Compression::Zstd])]
fn machine(bencher: Bencher<'_, '_>, compression: Compression) {
    bencher
        .counter(ItemsCount::new(EVENTS))
        .with_inputs(|| Session::new(compression))
        .bench_refs(|session| session.run(EVENTS));
}

#[divan::bench]
fn envelope(bencher: Bencher<'_, '_>) {
    let payloads = payloads();
    bencher
        .counter(ItemsCount::new(EVENTS))
        .bench(|| scan(&payloads));
}

#[divan::bench]
fn copy(bencher: Bencher<'_, '_>) {
    let payloads = payloads();
    bencher
        .counter(ItemsCount::new(EVENTS))
        .bench(|| keep(&payloads));
}
