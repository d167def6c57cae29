//! Numbers as people read them.

use std::fmt;

/// A number of bytes: `512 B`, `1.50 KiB`, `15.2 MiB`.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut units = UNITS.iter();
        let mut unit = units.next();
        // 1023.95 would be rounded to 1024.
        while value >= 1023.5 {
            let Some(next) = units.next() else { break };
            value /= 1024.0;
            unit = Some(next);
        }
        write!(f, "{} {}", ThreeDigits(value), unit.copied().unwrap_or_default())
    }
}

/// A time in milliseconds: `0.12 ms`, `15.2 ms`, `1.50 s`, `75.0 s`, `16.7 min`, `2.00 h`.
pub(super) struct Milliseconds(pub(super) f32);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = f64::from(self.0);
        if ms < 999.5 {
            write!(f, "{} ms", ThreeDigits(ms))
        } else if ms < 120_000.0 {
            write!(f, "{} s", ThreeDigits(ms / 1_000.0))
        } else if ms < 7_200_000.0 {
            write!(f, "{} min", ThreeDigits(ms / 60_000.0))
        } else {
            write!(f, "{} h", ThreeDigits(ms / 3_600_000.0))
        }
    }
}

/// A number with about three digits that count.
struct ThreeDigits(f64);

impl fmt::Display for ThreeDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = match self.0 {
            value if value < 9.995 => 2,
            value if value < 99.95 => 1,
            _ => 0,
        };
        write!(f, "{:.decimals$}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_unit_and_at_most_eight_characters() {
        let shown = |bytes| Bytes(bytes).to_string();
        assert_eq!(shown(0), "0 B");
        assert_eq!(shown(1023), "1023 B");
        assert_eq!(shown(1536), "1.50 KiB");
        assert_eq!(shown(10 * 1024 * 1024), "10.0 MiB");
        assert_eq!(shown(1024 * 1024 - 1), "1.00 MiB");
        assert_eq!(shown(u64::MAX), "16.0 EiB");
        for shift in 0..64 {
            assert!(shown((1 << shift) - 1).len() <= 8);
        }
    }

    #[test]
    fn times_have_a_unit() {
        let shown = |ms| Milliseconds(ms).to_string();
        assert_eq!(shown(0.123), "0.12 ms");
        assert_eq!(shown(15.25), "15.2 ms");
        assert_eq!(shown(999.7), "1.00 s");
        assert_eq!(shown(75_000.0), "75.0 s");
        assert_eq!(shown(1_000_000.0), "16.7 min");
        assert_eq!(shown(7_200_000.0), "2.00 h");
    }
}
