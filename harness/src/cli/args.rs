//! Values of options as people write them.

/// Reads `512`, `8k` (8192) or `1m` (1048576) tokens.
///
/// ```
/// assert_eq!(fathom_harness::cli::args::tokens("8k"), Ok(8192));
/// ```
///
/// # Errors
/// When it is no positive number of tokens, or more than 2^40.
pub fn tokens(text: &str) -> Result<usize, String> {
    let lower = text.trim().to_ascii_lowercase();
    let (digits, factor) = match lower.strip_suffix('k') {
        Some(d) => (d, 1 << 10),
        None => lower
            .strip_suffix('m')
            .map_or((&lower[..], 1), |d| (d, 1 << 20)),
    };
    match digits
        .parse::<usize>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
    {
        Some(n) if n > 0 && n <= 1 << 40 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(n),
        _ => Err("expected tokens such as 512, 8k or 1m".to_owned()),
    }
}

/// A number in 0..=1, above 0.
///
/// # Errors
/// When it is not.
pub fn share(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(p) if p > 0.0 && p <= 1.0 => Ok(p),
        _ => Err("expected a share above 0 and at most 1".to_owned()),
    }
}

/// A finite number, 0 or above.
///
/// # Errors
/// When it is not.
pub fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(t) if (0.0..=100.0).contains(&t) => Ok(t),
        _ => Err("expected 0 (greedy) up to 100".to_owned()),
    }
}

/// An amount of money, 0 or above.
///
/// # Errors
/// When it is none.
pub fn money(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(m) if m >= 0.0 && m.is_finite() => Ok(m),
        _ => Err("expected an amount such as 2 or 0.15".to_owned()),
    }
}

/// A number of threads; 0 is one a core.
///
/// # Errors
/// When it is no number, or more than 1024.
pub fn threads(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if n <= 1024 => Ok(n),
        _ => Err("expected 0 (one a core) to 1024".to_owned()),
    }
}

/// Bytes, for clap.
///
/// # Errors
/// When it is no amount of memory.
pub fn bytes(text: &str) -> Result<u64, String> {
    crate::memory::parse_bytes(text)
        .map_err(|_| "expected an amount such as 8GB or 512MiB".to_owned())
}

/// Nats: zero or more, and not without a bound.
pub fn nats(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(v) if v >= 0.0 && v.is_finite() => Ok(v),
        _ => Err("expected nats, a number from 0 on".to_owned()),
    }
}

/// A share from 0 to 1, both included.
pub fn part(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(v) if (0.0..=1.0).contains(&v) => Ok(v),
        _ => Err("expected a share from 0 to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_mean_them() {
        assert_eq!(tokens("4K"), Ok(4096));
        assert_eq!(tokens("1m"), Ok(1 << 20));
        for bad in [
            "",
            "0",
            "-1",
            "k",
            "1.5k",
            "+3",
            "99999999999999999999",
            "9999999999999m",
        ] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
        assert!(share("0").is_err() && share("nan").is_err() && share("1").is_ok());
        assert!(temperature("-1").is_err() && temperature("inf").is_err());
    }
}
