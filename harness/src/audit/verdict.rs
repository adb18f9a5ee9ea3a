//! What an audit ends in, and what was fixed before it began.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::audit::hypothesis::split;
use crate::audit::refine::Refined;
use crate::{Error, Result};

/// What nobody has thought of, as a member of a class.
pub const OTHER: &str = "other";

/// What an audit may end in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Every fault that can be told apart at the budget is rejected, and the divergence is below the margin.
    Same,
    /// One fault, of a share of requests or of all.
    Fault,
    /// One of several faults that the budget cannot tell apart.
    Class,
    /// Not the model, and nothing of the catalogue.
    Other,
    /// The budget was spent before the evidence was enough.
    Undecided,
}

/// An audit's verdict, with what it rests on. Field names are those of the command line's contract.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The verdict.
    pub verdict: Kind,
    /// The fault's name, without a value.
    pub fault: Option<String>,
    /// Its value, where it has one.
    pub parameters: Map<String, Value>,
    /// What a class is made of.
    pub members: Vec<String>,
    /// Share of requests that have the fault, where not all do.
    pub share: Option<f64>,
    /// The shares that are not much less likely.
    pub share_interval: Option<[f64; 2]>,
    /// Faults with a value that was looked for after nothing of the catalogue was left: what holds in other requests too.
    pub refined: Vec<Refined>,
    /// Faults that are rejected.
    pub excluded: Vec<String>,
    /// Faults that are not.
    pub not_excluded: Vec<String>,
    /// Against every hypothesis: at 1/alpha it is rejected.
    pub e_values: BTreeMap<String, f64>,
    /// Mean divergence from the reference, nats a token.
    pub divergence: Option<f64>,
    /// The upper end of its interval of 95 %.
    pub divergence_at_most: Option<f64>,
}

impl Verdict {
    /// The verdict where something was found that no hypothesis says.
    pub fn with(self, refined: Vec<Refined>) -> Self {
        let (verdict, fault, value, members) = match &refined[..] {
            [] => return self,
            [one] => {
                let (fault, value) = split(&one.name);
                (Kind::Fault, Some(fault.to_owned()), value, Vec::new())
            }
            all => {
                let members = all.iter().map(|r| r.name.clone()).collect();
                (Kind::Class, None, None, members)
            }
        };
        let value = value.map(|value| ("value".to_owned(), Value::from(value)));
        Self {
            verdict,
            fault,
            parameters: value.into_iter().collect(),
            members,
            share: None,
            share_interval: None,
            refined,
            ..self
        }
    }
}

/// What was fixed before the first request.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Terms {
    /// Probability of rejecting the truth.
    pub alpha: f64,
    /// Divergence that *same* may have, nats a token.
    pub margin: f64,
}

impl Terms {
    /// # Errors
    /// What is no probability or no divergence.
    pub fn new(alpha: f64, margin: f64) -> Result<Self> {
        if !(alpha > 0.0 && alpha < 0.5) {
            let expected = "more than 0 and less than 0.5";
            return Err(Error::input("--alpha", "share", alpha, expected));
        }
        if !(margin > 0.0 && margin.is_finite()) {
            return Err(Error::input("--margin", "nats", margin, "more than 0"));
        }
        Ok(Self { alpha, margin })
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            margin: 0.02,
        }
    }
}
