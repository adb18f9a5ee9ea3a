//! A line through 0 under noise that is Student's with 3 degrees of freedom.

/// Degrees of freedom of a token's deviation and, at most, of a slope.
pub const NU: f64 = 3.0;
/// Rounds of the reweighting.
const ROUNDS: usize = 12;

/// Deviations and differences in scales of honest deviations.
#[derive(Debug, Default)]
pub struct Line {
    /// Places of the numbers.
    pub at: Vec<usize>,
    /// Deviations.
    pub d: Vec<f64>,
    /// Differences.
    pub u: Vec<f64>,
}

/// A fitted line through 0.
#[derive(Debug)]
pub struct Fit {
    /// Its slope.
    pub slope: f64,
    /// Scale of what it leaves.
    pub scale: f64,
    /// Minus its log likelihood, but for what all fits have.
    pub cost: f64,
    /// Sum of the weighed squares of the differences.
    pub bread: f64,
    /// Weights of the numbers.
    pub weight: Vec<f64>,
    /// What it leaves of each.
    pub rest: Vec<f64>,
}

impl Line {
    /// Adds a number.
    pub fn push(&mut self, i: usize, d: f64, u: f64) {
        self.at.push(i);
        self.d.push(d);
        self.u.push(u);
    }

    /// The most likely slope, from a first guess, with Student's errors of one scale.
    pub fn fit(&self, start: f64) -> Fit {
        let n = self.d.len() as f64;
        let mut slope = start;
        let mut rest = self.rest(slope);
        let mut scale = median(rest.iter().map(|r| r.abs()))
            .unwrap_or(0.0)
            .max(1e-9);
        let mut weight = Vec::new();
        let mut bread = 0.0;
        for _ in 0..ROUNDS {
            weight = rest
                .iter()
                .map(|r| (NU + 1.0) / (NU + (r / scale).powi(2)))
                .collect();
            let rows = || weight.iter().zip(self.u.iter().zip(&self.d));
            bread = rows().map(|(w, (u, _))| w * u * u).sum::<f64>().max(1e-300);
            slope = rows().map(|(w, (u, d))| w * u * d).sum::<f64>() / bread;
            rest = self.rest(slope);
            let square: f64 = weight.iter().zip(&rest).map(|(w, r)| w * r * r).sum();
            scale = (square / n).sqrt().max(1e-9);
        }
        let logs: f64 = rest
            .iter()
            .map(|r| ((r / scale).powi(2) / NU).ln_1p())
            .sum();
        Fit {
            slope,
            scale,
            cost: n * scale.ln() + (NU + 1.0) / 2.0 * logs,
            bread,
            weight,
            rest,
        }
    }

    fn rest(&self, slope: f64) -> Vec<f64> {
        self.d
            .iter()
            .zip(&self.u)
            .map(|(d, u)| d - slope * u)
            .collect()
    }
}

/// Scale of Student's distribution with 3 degrees of freedom about 0.
pub fn scale(values: &[f64]) -> f64 {
    let mut scale = median(values.iter().map(|v| v.abs()))
        .unwrap_or(0.0)
        .max(1e-9);
    for _ in 0..ROUNDS {
        let square: f64 = values
            .iter()
            .map(|v| (NU + 1.0) / (NU + (v / scale).powi(2)) * v * v)
            .sum();
        scale = (square / values.len().max(1) as f64).sqrt().max(1e-9);
    }
    scale
}

/// The middle one of what is finite.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<f64> = values.filter(|v| v.is_finite()).collect();
    let middle = all.len() / 2;
    (!all.is_empty()).then(|| *all.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// Probability of more than `z` under Student's distribution with 3 degrees of freedom.
pub fn tail(z: f64) -> f64 {
    let t = z / 3.0_f64.sqrt();
    // Far out the difference from 1 is lost; there the tail is its first term.
    if t > 100.0 {
        return 2.0 / (3.0 * std::f64::consts::PI * t.powi(3));
    }
    let below = 0.5 + (t / (1.0 + t * t) + t.atan()) / std::f64::consts::PI;
    (1.0 - below).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_students() {
        // scipy.stats.t(3).sf
        for (z, p) in [
            (0.0, 0.5),
            (1.0, 0.195_501_1),
            (3.182_446, 0.025),
            (10.0, 0.001_063_77),
            (1000.0, 1.102_6e-9),
        ] {
            assert!((tail(z) / p - 1.0).abs() < 1e-3, "{z}: {}", tail(z));
        }
    }
}
