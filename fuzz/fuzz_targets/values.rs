#![no_main]

use actix_multiprocess::testing::decoders::{Decoder, decode};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decode(Decoder::Values, bytes));
