//! Fuzz targets for everything that reads bytes from elsewhere.
//!
//! | target | what it reads | what must hold |
//! |---|---|---|
//! | `http1`, `http2`, `tls` | a connection in that protocol | as `observe` |
//! | `observe` | a connection, both sides | the same is told however the bytes are cut; memory is bounded; every request ends once |
//! | `hpack` | header blocks | what another decoder says; memory is bounded |
//! | `trace` | trace headers | what is read can be written and read again; a cut value says the same |
//! | `policy` | port lists, endpoints, words | what another reading says; form and text read back |
//! | `config` | a config file | an error points into the file; a config is the one that it was |
//! | `inject` | a manifest | what is injected again stays; what was removed comes back the same; an error points into it |
//! | `tap` | lines of the tap's protocol | what is shown does nothing to a terminal; JSON reads back |
//!
//! None may panic, overflow or hang, whatever it reads. That nothing alters the stream is not asserted here: an
//! observer is lent the bytes as `&[u8]`, and nothing in it can write to them.
//!
//! `cargo xtask fuzz` runs them, with seeds from the tests' corpus (`examples/seeds.rs`).

pub mod conversation;
mod follow;
pub mod memory;
mod record;

mod config;
mod hpack;
mod http1;
mod http2;
mod inject;
mod observe;
mod policy;
mod tap;
mod tls;
mod trace;

pub use config::config;
pub use hpack::{MARK as BLOCK_MARK, hpack};
pub use http1::http1;
pub use http2::{PREFACE, http2};
pub use inject::inject;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use libfuzzer_sys;
pub use observe::observe;
pub use policy::policy;
pub use tap::tap;
pub use tls::tls;
pub use trace::trace;

use std::{env, fs, process::ExitCode};

/// A target: takes an input, and panics where something does not hold.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: [(&str, Target); 10] = [
    ("config", config),
    ("hpack", hpack),
    ("http1", http1),
    ("http2", http2),
    ("inject", inject),
    ("observe", observe),
    ("policy", policy),
    ("tap", tap),
    ("tls", tls),
    ("trace", trace),
];

/// The program of a target: libFuzzer's where it is built for fuzzing, else one that tries files.
#[cfg(fuzzing)]
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        // What the other macro expands to names its crate so.
        use $crate::libfuzzer_sys;
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::$name(input));
    };
}

/// The program of a target: libFuzzer's where it is built for fuzzing, else one that tries files.
#[cfg(not(fuzzing))]
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        fn main() -> std::process::ExitCode {
            $crate::try_files($crate::$name)
        }
    };
}

/// Tries the files that are named on the command line.
pub fn try_files(target: Target) -> ExitCode {
    for path in env::args_os().skip(1) {
        match fs::read(&path) {
            Ok(input) => target(&input),
            Err(error) => {
                eprintln!("cannot read {}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_was_found_once_holds() {
        let regressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
        for (name, target) in TARGETS {
            // A target of which nothing was ever found has no directory.
            for file in fs::read_dir(regressions.join(name)).into_iter().flatten() {
                let path = file.unwrap().path();
                println!("{}", path.display());
                target(&fs::read(path).unwrap());
            }
        }
    }

    #[test]
    fn nothing_and_little_is_an_input() {
        for (_, target) in TARGETS {
            target(b"");
            (0..=u8::MAX).for_each(|byte| target(&[byte]));
        }
    }
}
