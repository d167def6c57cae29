//! The target `observe`; what it asserts is in `src/observe.rs`.
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(observe);
