//! The target `http1`; what it asserts is in `src/http1.rs`.
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(http1);
