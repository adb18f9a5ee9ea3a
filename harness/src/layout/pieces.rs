//! Lengths where nobody knows the tokenizer: words, numbers and signs are counted, and scaled to what a service bills.

use fathom_engine::Result;

use crate::layout::Encode;

/// Letters of one piece: a longer word is several.
const LETTERS: usize = 8;
/// Digits of one piece.
const DIGITS: usize = 3;

/// Splits text as most tokenizers do before they merge: a word with the space before it, up to three digits, a sign.
/// The pieces of a text are those of its parts, cut at spaces; their ids mean nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pieces;

impl Pieces {
    /// Pieces of a text.
    ///
    /// ```
    /// use fathom_harness::layout::Pieces;
    /// assert_eq!(Pieces.count("The number is 12345.\n"), 7);
    /// ```
    pub fn count(self, text: &str) -> usize {
        let (mut n, mut last, mut run) = (0, Kind::Space, 0);
        for c in text.chars() {
            let kind = Kind::of(c);
            let longest = match kind {
                Kind::Letter => LETTERS,
                Kind::Digit => DIGITS,
                Kind::Ideograph | Kind::Sign | Kind::Line => 1,
                // It belongs to what follows.
                Kind::Space => {
                    (last, run) = (kind, 0);
                    continue;
                }
            };
            if kind != last || run == longest {
                n += 1;
                run = 0;
            }
            run += 1;
            last = kind;
        }
        n
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Ideograph,
    Digit,
    Sign,
    Line,
    Space,
}

impl Kind {
    fn of(c: char) -> Self {
        match c {
            '\n' => Self::Line,
            _ if c.is_whitespace() => Self::Space,
            _ if c.is_numeric() => Self::Digit,
            // From here on scripts have a sign a syllable or a word.
            '\u{2e80}'.. if c.is_alphabetic() => Self::Ideograph,
            _ if c.is_alphabetic() => Self::Letter,
            _ => Self::Sign,
        }
    }
}

impl Encode for Pieces {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(vec![0; self.count(text)])
    }

    fn has_special(&self, text: &str) -> Result<bool> {
        Ok(text.contains("<|"))
    }

    fn decode(&self, _: &[u32]) -> String {
        String::new()
    }
}

/// Tokens from counted units: `slope * units + overhead`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Tokens a unit.
    pub slope: f64,
    /// Tokens of a prompt without text: the service's template.
    pub overhead: f64,
}

impl Scale {
    /// The line through (units, tokens) with the least squares, each weighed by one over its units, so that short prompts
    /// are right too; `None` of fewer than two different numbers of units, or
    /// where more text has no more tokens.
    ///
    /// ```
    /// use fathom_harness::layout::Scale;
    /// let scale = Scale::fit(&[(10, 25), (110, 225)]).ok_or("no line")?;
    /// assert!((scale.slope - 2.0).abs() < 1e-9 && (scale.overhead - 5.0).abs() < 1e-9);
    /// assert_eq!((scale.tokens(500), scale.units(1005)), (1005, 500));
    /// # Ok::<(), &str>(())
    /// ```
    pub fn fit(points: &[(usize, u64)]) -> Option<Self> {
        let weight = |p: &(usize, u64)| 1.0 / p.0.max(1) as f64;
        let all: f64 = points.iter().map(weight).sum();
        let mean = |f: &dyn Fn(&(usize, u64)) -> f64| {
            points.iter().map(|p| weight(p) * f(p)).sum::<f64>() / all
        };
        let (x, y) = (mean(&|p| p.0 as f64), mean(&|p| p.1 as f64));
        let covariance = mean(&|p| (p.0 as f64 - x) * (p.1 as f64 - y));
        let variance = mean(&|p| (p.0 as f64 - x).powi(2));
        let slope = covariance / variance;
        // Also false where nothing varies, or there are no points.
        (slope > 0.0 && slope.is_finite()).then_some(Self {
            slope,
            overhead: y - slope * x,
        })
    }

    /// Tokens of so many units, at least 1.
    pub fn tokens(&self, units: usize) -> usize {
        (self.slope * units as f64 + self.overhead).round().max(1.0) as usize
    }

    /// Units of so many tokens.
    pub fn units(&self, tokens: usize) -> usize {
        ((tokens as f64 - self.overhead) / self.slope)
            .round()
            .max(0.0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_parts_add_up() {
        let parts = [
            "The cat",
            " sat on",
            " 12 mats,",
            " unbelievably.",
            " 猫が",
            "\nSo",
        ];
        let sum: usize = parts.iter().map(|p| Pieces.count(p)).sum();
        assert_eq!(Pieces.count(&parts.concat()), sum);
        assert_eq!(sum, 2 + 2 + 3 + 3 + 2 + 2);
    }

    #[test]
    fn a_line_needs_two_points() {
        assert_eq!(Scale::fit(&[]), None);
        assert_eq!(Scale::fit(&[(3, 4)]), None);
        assert_eq!(Scale::fit(&[(3, 4), (3, 9)]), None);
        assert_eq!(Scale::fit(&[(3, 9), (5, 4)]), None);
    }
}
