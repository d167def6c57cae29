//! The target `trace`; what it asserts is in `src/trace.rs`.
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(trace);
