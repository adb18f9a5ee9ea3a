//! Memory of this machine and of this process, and how a person reads and writes amounts of it.

use crate::{Error, Result};

/// Bytes that a new allocation may use without swapping (`MemAvailable`); `None` where the system does not say.
pub fn available_bytes() -> Option<u64> {
    kib_field(
        &std::fs::read_to_string("/proc/meminfo").ok()?,
        "MemAvailable:",
    )
}

/// Peak resident memory of this process, bytes; 0 where the system does not say.
pub fn peak_rss_bytes() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|s| kib_field(&s, "VmHWM:"))
        .unwrap_or(0)
}

/// Bytes that this process has read from disks, what it used of its maps included; 0 where the system does not say.
pub fn disk_bytes_read() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("read_bytes:"));
    line.and_then(|l| l.trim().parse().ok()).unwrap_or(0)
}

fn kib_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// `41 GB`, `1.5 GB`, `820 MB`: decimal units.
pub fn show_bytes(bytes: u64) -> String {
    let b = bytes as f64;
    match b {
        b if b >= 1e10 => format!("{:.0} GB", b / 1e9),
        b if b >= 1e9 => format!("{:.1} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.0} MB", b / 1e6),
        b => format!("{:.0} kB", (b / 1e3).ceil()),
    }
}

/// Reads `8GB`, `8G`, `512MiB`, `8000000`: decimal units, or binary ones with an `i`.
///
/// ```
/// assert_eq!(fathom_harness::memory::parse_bytes("8GB")?, 8_000_000_000);
/// assert_eq!(fathom_harness::memory::parse_bytes("2GiB")?, 2 << 30);
/// # Ok::<(), fathom_harness::Error>(())
/// ```
///
/// # Errors
/// When it is not an amount, or more than 2^63 bytes.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let wrong = || {
        Error::input(
            "--memory",
            "amount",
            text,
            "a number with GB, GiB, MB or MiB",
        )
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text[digits.len()..].trim().to_ascii_lowercase();
    let factor = match unit.trim_end_matches('b') {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "t" => 1e12,
        "ki" => 1024.0,
        "mi" => 1048576.0,
        "gi" => 1073741824.0,
        "ti" => 1099511627776.0,
        _ => return Err(wrong()),
    };
    let bytes = digits.parse::<f64>().map_err(|_| wrong())? * factor;
    if (0.0..9e18).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written() {
        assert_eq!(parse_bytes("1.5GB").ok(), Some(1_500_000_000));
        assert_eq!(parse_bytes("0").ok(), Some(0));
        for bad in ["", "GB", "-1GB", "1QB", "nan", "inf", "1e30"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(show_bytes(41_400_000_000), "41 GB");
        assert_eq!(show_bytes(1_240_000_000), "1.2 GB");
        assert_eq!(show_bytes(900), "1 kB");
    }

    #[test]
    fn this_process_has_a_peak() {
        assert!(!cfg!(target_os = "linux") || peak_rss_bytes() > 100_000);
    }
}
