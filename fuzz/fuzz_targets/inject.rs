//! The target `inject`; what it asserts is in `src/inject.rs`.
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(inject);
