//! What all requests say together: e-processes against every hypothesis.
//!
//! Against hypothesis h stands a bet, made before the first request and never changed, that one of the others is true, or a
//! mixture of sound and a fault, or something that nobody has thought of. What the bet is worth is a martingale under h that
//! starts at 1, so that it ever reaches 1/alpha has a probability of at most alpha (Ville): one may look after each
//! request and stop when one likes. What was rejected once stays rejected.

use crate::audit::line::tail;
use crate::audit::request::{Evidence, LEFT, SPREAD};
use crate::backend::sample::log_sum_exp;

/// Shares of requests that go to the faulty one of a mixture, on which is bet.
const SHARES: [f64; 3] = [0.25, 0.5, 0.75];
/// Part of the bet that is on something that nobody has thought of.
const SURPRISE: f64 = 0.2;
/// .. on single numbers that no honest engine would have so wrong ..
const JUMPS: f64 = 0.05;
/// .. and on mixtures.
const MIXTURES: f64 = 0.1;
/// Share of requests, at most, in which an honest engine has a number that is further off than one may be.
const HONEST_JUMPS: f64 = 0.02;
/// Exponent of the calibrator that makes an e-value of a p-value.
const KAPPA: f64 = 0.3;

/// What a hypothesis explains but for so many distances that are honest ..
const NEARLY: f64 = 1.5;
/// .. and so much less than what sound leaves unexplained, is explained: the noise of a model that is far astray is known from a few
/// texts.
const CLOSER: f64 = 5.0;

/// The bets against every hypothesis.
#[derive(Clone, Debug)]
pub struct Process {
    /// Per request, `[g][h]`: log of the ratio of g to h.
    ratios: Vec<Vec<Vec<f64>>>,
    /// `[h][f][s]`: the same of the mixture of sound and f with share s to h, over all requests.
    mixed: Vec<Vec<[f64; SHARES.len()]>>,
    /// Per request and hypothesis: log of the e-value of being too far from it.
    surprise: Vec<Vec<f64>>,
    /// The same of having a single number too far from it.
    jumps: Vec<Vec<f64>>,
    /// Logs of the largest worth that the bet against each hypothesis had.
    peak: Vec<f64>,
    /// The same after each request.
    history: Vec<Vec<f64>>,
    /// Per request and hypothesis: log of the distance in distances that are honest; nothing where no number was told.
    far: Vec<Vec<f64>>,
    /// Per request and hypothesis, as `far`: the share of the deviation from sound that it leaves.
    left: Vec<Vec<f64>>,
    /// Of each hypothesis: log of the ratio of its direction to none, over all requests.
    direction: Vec<f64>,
    /// Of each hypothesis: the same over the requests that are in its direction.
    toward: Vec<f64>,
    /// Mean divergence of each request from sound.
    divergence: Vec<f64>,
}

/// Whether `h` explains a request: sound is near, or `h` leaves less of the deviation from it.
fn explained(far: &[f64], left: &[f64], h: usize) -> bool {
    far[0] <= 0.0 || left[h] <= LEFT
}

/// Log of the e-value of a p-value.
fn calibrated(p: f64) -> f64 {
    KAPPA.ln() + (KAPPA - 1.0) * p.max(1e-300).ln()
}

/// Log of the e-value of a jump, which honest engines have rarely: half of it is on requests that have one.
fn rare(jump: f64) -> f64 {
    let p = match jump > 0.0 {
        true => HONEST_JUMPS * 2.0 * tail(jump / SPREAD),
        false => 1.0,
    };
    (0.5 + 0.5 * calibrated(p).exp()).ln()
}

impl Process {
    /// Before the first request, against so many hypotheses.
    pub fn new(hypotheses: usize) -> Self {
        Self {
            ratios: Vec::new(),
            mixed: vec![vec![[0.0; SHARES.len()]; hypotheses]; hypotheses],
            surprise: Vec::new(),
            jumps: Vec::new(),
            peak: vec![0.0; hypotheses],
            history: Vec::new(),
            far: Vec::new(),
            left: Vec::new(),
            direction: vec![0.0; hypotheses],
            toward: vec![0.0; hypotheses],
            divergence: Vec::new(),
        }
    }

    /// Takes a request's evidence.
    pub fn take(&mut self, evidence: Evidence) {
        let none = || vec![0.0; self.peak.len()];
        let surprise = |far: &f64| calibrated(tail(far / SPREAD));
        let all = evidence.far.as_ref();
        self.surprise
            .push(all.map_or_else(none, |far| far.iter().map(surprise).collect()));
        self.jumps.push(match &evidence.jump[..] {
            [] => none(),
            jumps => jumps.iter().map(|jump| rare(*jump)).collect(),
        });
        let r = &evidence.ratios;
        for (h, of_h) in self.mixed.iter_mut().enumerate() {
            for (f, of_f) in of_h.iter_mut().enumerate() {
                for (sum, share) in of_f.iter_mut().zip(SHARES) {
                    *sum += mixture(r, f, share, h);
                }
            }
        }
        self.ratios.push(evidence.ratios);
        if let Some(far) = evidence.far {
            self.far.push(far);
            self.left.push(evidence.left);
        }
        let sums = self.direction.iter_mut().zip(&mut self.toward);
        for ((sum, toward), log) in sums.zip(evidence.direction) {
            *sum += log;
            *toward += log.max(0.0);
        }
        self.divergence.extend(evidence.divergence);
        for h in 0..self.peak.len() {
            self.peak[h] = self.peak[h].max(self.worth(h));
        }
        self.history.push(self.peak.clone());
    }

    /// Log of what the bet against `h` is worth now.
    fn worth(&self, h: usize) -> f64 {
        let others = (self.peak.len() - 1).max(1) as f64;
        let surprise = self.surprise.iter().map(|r| r[h]).sum::<f64>();
        let mut parts = vec![SURPRISE.ln() + surprise, JUMPS.ln() + self.jumped(h)];
        let pure = ((1.0 - SURPRISE - JUMPS - MIXTURES) / others).ln();
        let mixed = (MIXTURES / (others * SHARES.len() as f64)).ln();
        let all = 0..self.peak.len();
        parts.extend(all.filter(|g| *g != h).map(|g| pure + self.ratio(g, h)));
        // A fault that shows in no request so far is no better off than sound, and has to lose by the same bets.
        let mixtures = self.mixed[h].iter().skip(1).flatten();
        parts.extend(mixtures.map(|log| mixed + log));
        log_sum_exp(&parts)
    }

    /// Log of the e-value of single numbers that are too far from `h`, over all requests.
    pub fn jumped(&self, h: usize) -> f64 {
        self.jumps.iter().map(|r| r[h]).sum()
    }

    /// Requests that had one too far from sound.
    pub fn jumps(&self) -> usize {
        self.jumps.iter().filter(|r| r[0] > 0.0).count()
    }

    /// Log of the ratio of g to h over all requests.
    pub fn ratio(&self, g: usize, h: usize) -> f64 {
        self.ratios.iter().map(|r| r[g][h]).sum()
    }

    /// Log of the ratio of a mixture, sound but for a share of requests that have fault `f`, to `h`.
    pub fn mixture(&self, f: usize, share: f64, h: usize) -> f64 {
        self.ratios.iter().map(|r| mixture(r, f, share, h)).sum()
    }

    /// Log of the e-value against every mixture of sound and `f`: each request would have to be near one of the two.
    pub fn against_mixture(&self, f: usize) -> f64 {
        self.surprise.iter().map(|r| r[0].min(r[f])).sum()
    }

    /// Whether most requests are as near to `h` as honest engines would be, or nearly, where sound is far; and where sound is, are
    /// explained by it. True where nothing was told.
    pub fn fits(&self, h: usize) -> bool {
        let fits = |(far, left): &(&Vec<f64>, &Vec<f64>)| {
            let nearly = far[h] <= NEARLY.ln() && far[h] <= far[0] - CLOSER.ln();
            (far[h] <= 0.0 || nearly) && explained(far, left, h)
        };
        let near = self.far.iter().zip(&self.left).filter(fits).count();
        2 * near >= self.far.len()
    }

    /// Requests that sound is far from, and how many of them `h` explains.
    pub fn explains(&self, h: usize) -> (usize, usize) {
        let requests = self.far.iter().zip(&self.left);
        let far: Vec<_> = requests.filter(|(far, _)| far[0] > 0.0).collect();
        let explained = far.iter().filter(|(far, left)| explained(far, left, h));
        (far.len(), explained.count())
    }

    /// Whether most requests are near to sound or to `f`, and some to each alone.
    pub fn fits_in_parts(&self, f: usize) -> bool {
        let fits = |(far, left): &(&Vec<f64>, &Vec<f64>)| {
            far[0] <= 0.0 || (far[f] <= 0.0 && explained(far, left, f))
        };
        let near = self.far.iter().zip(&self.left).filter(fits).count();
        let sides = |sign: f64| self.ratios.iter().any(|r| sign * r[f][0] > 2.0);
        2 * near >= self.far.len() && sides(1.0) && sides(-1.0)
    }

    /// The largest e-values so far, as logs.
    pub fn e_values(&self) -> &[f64] {
        &self.peak
    }

    /// Whether `h` is rejected at level `alpha`.
    pub fn rejected(&self, h: usize, alpha: f64) -> bool {
        self.peak[h] >= -alpha.ln()
    }

    /// Hypotheses that are not.
    pub fn survivors(&self, alpha: f64) -> Vec<usize> {
        (0..self.peak.len())
            .filter(|h| !self.rejected(*h, alpha))
            .collect()
    }

    /// The share of requests that have fault `f` in the most likely mixture, with the shares that are not less likely by a
    /// factor of `alpha`.
    pub fn share(&self, f: usize, alpha: f64) -> (f64, [f64; 2]) {
        let grid: Vec<f64> = (1..100).map(|i| f64::from(i) / 100.0).collect();
        let logs: Vec<f64> = grid
            .iter()
            .map(|share| self.mixture(f, *share, 0))
            .collect();
        let best = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let near = || {
            grid.iter()
                .zip(&logs)
                .filter(|(_, l)| **l >= best + alpha.ln())
        };
        let at = grid
            .iter()
            .zip(&logs)
            .find(|(_, l)| **l == best)
            .map_or(0.5, |(s, _)| *s);
        let low = near().map(|(s, _)| *s).fold(1.0, f64::min);
        (at, [low, near().map(|(s, _)| *s).fold(0.0, f64::max)])
    }

    /// The mean divergence from sound, nats a token, with the upper end of its interval of 95 % over requests; `None` where
    /// fewer than two requests told numbers.
    pub fn divergence(&self) -> Option<(f64, f64)> {
        let n = self.divergence.len() as f64;
        if n < 2.0 {
            return None;
        }
        let mean = self.divergence.iter().sum::<f64>() / n;
        let square: f64 = self.divergence.iter().map(|d| (d - mean).powi(2)).sum();
        let error = (square / (n - 1.0) / n).sqrt();
        // Student's 97.5 % for few requests.
        let t = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26];
        let t = t.get(n as usize - 2).copied().unwrap_or(2.2);
        Some((mean, mean + t * error))
    }

    /// Log of the ratio of `h`'s direction to none over the requests that are in it: those that a mixture sends to a faulty one.
    pub fn toward(&self, h: usize) -> f64 {
        self.toward[h]
    }

    /// Log of the ratio of a fault's own direction to none: what tells it from anything else of its size.
    pub fn direction(&self, h: usize) -> f64 {
        self.direction[h]
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.ratios.len()
    }

    /// Log of the largest e-value against `h` after each request.
    pub fn history(&self, h: usize) -> Vec<f64> {
        self.history.iter().map(|peak| peak[h]).collect()
    }
}

/// Log of the ratio of a mixture, sound but for a share with fault `f`, to `h` in one request.
fn mixture(ratios: &[Vec<f64>], f: usize, share: f64, h: usize) -> f64 {
    log_sum_exp(&[(1.0 - share).ln() + ratios[0][h], share.ln() + ratios[f][h]])
}
