//! aya-log, behind a level that can be turned on at run time.

use proxy_common::LogLevel;

use crate::maps::settings;

/// Whether messages of this level are wanted now. One array lookup when they are not.
#[inline(always)]
pub(crate) fn enabled(level: LogLevel) -> bool {
    settings().is_some_and(|settings| settings.log_level >= level as u32)
}

/// Logs a decision.
macro_rules! log_debug {
    ($($args:tt)*) => {
        if $crate::log::enabled(::proxy_common::LogLevel::Debug) {
            ::aya_log_ebpf::debug!($($args)*);
        }
    };
}

/// Logs what went wrong.
macro_rules! log_warn {
    ($($args:tt)*) => {
        if $crate::log::enabled(::proxy_common::LogLevel::Warn) {
            ::aya_log_ebpf::warn!($($args)*);
        }
    };
}

pub(crate) use {log_debug, log_warn};
