//! The target `http2`; what it asserts is in `src/http2.rs`.
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(http2);
