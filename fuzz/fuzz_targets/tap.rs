//! The target `tap`; what it asserts is in `src/tap.rs`.
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(tap);
