#![no_main]

use libfuzzer_sys::fuzz_target;
use shardwright_fuzz::machine::{Plot, check};

fuzz_target!(|plot: Plot| check(plot));
