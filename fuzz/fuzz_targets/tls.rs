//! The target `tls`; what it asserts is in `src/tls.rs`.
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(tls);
