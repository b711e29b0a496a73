#![no_main]

use libfuzzer_sys::fuzz_target;
use shardwright_fuzz::fleet::{Plot, check};

fuzz_target!(|plot: Plot| check(plot));
