//! The target `policy`; what it asserts is in `src/policy.rs`.
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(policy);
