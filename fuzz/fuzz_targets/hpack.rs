//! The target `hpack`; what it asserts is in `src/hpack.rs`.
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(hpack);
