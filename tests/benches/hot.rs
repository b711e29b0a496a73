//! Time and allocations an event of each piece of the hot path.
//!
//! `cargo bench -p shardwright-testkit --bench hot`; a run goes through 1,000 events.

mod cases;

use cases::{COMMANDS, EVENTS, Session, decode, frames, keep, payloads, scan};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use shardwright_core::{Compression, DEFAULT_PAYLOAD_LIMIT, FrameDecoder};

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
fn machine_polled(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(EVENTS))
        .with_inputs(|| Session::new(Compression::None))
        .bench_refs(|session| session.run_polled(EVENTS));
}

#[divan::bench(args = [Compression::None, Compression::Zlib, Compression::Zstd])]
fn decoder(bencher: Bencher<'_, '_>, compression: Compression) {
    let frames = frames(compression);
    bencher
        .counter(ItemsCount::new(EVENTS))
        .with_inputs(|| FrameDecoder::new(compression.into(), DEFAULT_PAYLOAD_LIMIT))
        .bench_refs(|decoder| decode(decoder, &frames));
}

/// A command through queue and send budget.
#[divan::bench]
fn command(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(COMMANDS))
        .with_inputs(|| Session::new(Compression::None))
        .bench_refs(|session| session.command(COMMANDS));
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
