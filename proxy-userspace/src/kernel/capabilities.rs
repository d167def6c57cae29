//! What this process may not do, of what loading and attaching take: the kernel says EPERM, or lets the
//! verifier complain of something else.

use std::fs;

/// Bits of `CapEff`; capabilities(7).
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The capabilities that are needed and missing; none where that cannot be told.
pub(super) fn missing() -> Vec<&'static str> {
    fs::read_to_string("/proc/self/status").map(|status| missing_of(&status)).unwrap_or_default()
}

fn missing_of(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) else {
        return Vec::new();
    };
    let has = |capability: u32| effective & (1 << capability) != 0;
    // It stands for the others (`bpf_token_capable`, 6.18), and before Linux 5.8 it alone did.
    if has(CAP_SYS_ADMIN) {
        return Vec::new();
    }
    [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON"), (CAP_NET_ADMIN, "CAP_NET_ADMIN")]
        .into_iter()
        .filter_map(|(capability, name)| (!has(capability)).then_some(name))
        .collect()
}

/// As part of an error, with what comes before it.
pub(super) fn told(missing: &[&str]) -> String {
    match missing {
        [] => String::new(),
        [one] => format!(": {one} is missing"),
        several => format!(": {} are missing", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let missing = |mask: u64| missing_of(&format!("CapPrm:\t0\nCapEff:\t{mask:016x}\nCapBnd:\t0\n"));
        let all = [CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF].iter().fold(0, |mask, bit| mask | 1 << bit);
        assert_eq!(missing(all), [""; 0]);
        assert_eq!(missing(all & !(1 << CAP_PERFMON)), ["CAP_PERFMON"]);
        assert_eq!(missing(0), ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]);
        assert_eq!(missing(1 << CAP_SYS_ADMIN), [""; 0]);
        assert_eq!(missing_of("Name:\tx\n"), [""; 0]);
        assert_eq!(told(&missing(0)), ": CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN are missing");
        assert_eq!(told(&["CAP_BPF"]), ": CAP_BPF is missing");
    }
}
