//! The target `config`; what it asserts is in `src/config.rs`.
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(config);
