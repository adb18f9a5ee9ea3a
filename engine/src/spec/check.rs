//! What every spec must satisfy before weights are looked for, and what the forward pass does not do yet.

use super::{Activation, Attention, Ffn, ModelSpec, Moe};
use crate::{Error, Result};

/// Widest head: the rotary embedding's table is made before any tensor is checked.
pub(super) const MAX_HEAD_DIM: usize = 1 << 16;
/// Largest number of experts.
const MAX_EXPERTS: usize = 1 << 16;

impl ModelSpec {
    /// Checks sizes against each other; `file` is for the message.
    ///
    /// # Errors
    /// The first contradiction, or the first step that this version does not compute.
    pub fn check(&self, file: &str) -> Result<()> {
        for (i, layer) in self.layers.iter().enumerate() {
            let fail = |field: &str, found: String, expected: &str| {
                Err(Error::input(
                    file,
                    format!("layer {i}: {field}"),
                    found,
                    expected,
                ))
            };
            let a = &layer.attention;
            if a.n_heads % a.n_kv_heads != 0 {
                let found = format!("{} heads over {} key-value heads", a.n_heads, a.n_kv_heads);
                return fail("attention", found, "a multiple");
            }
            if a.head_dim == 0 || a.head_dim > MAX_HEAD_DIM {
                return fail("head_dim", a.head_dim.to_string(), "1 to 65536");
            }
            if let Some(rope) = &a.rope
                && (rope.rotary_dim() > a.head_dim || rope.inv_freq.is_empty())
            {
                return fail(
                    "rotary dimensions",
                    rope.rotary_dim().to_string(),
                    "2 to head_dim, even",
                );
            }
            if let Ffn::Moe(moe) = &layer.ffn
                && (moe.n_used > moe.n_experts || moe.n_experts > MAX_EXPERTS)
            {
                let found = format!("{} of {} experts used", moe.n_used, moe.n_experts);
                return fail("experts", found, "no more than there are, at most 65536");
            }
            if let Some(step) = not_computed(a, &layer.ffn) {
                return Err(Error::Unsupported(format!(
                    "{file}: layer {i}: {step} is not computed yet"
                )));
            }
        }
        Ok(())
    }
}

/// Axes that the types have and the forward pass has not.
fn not_computed(a: &Attention, ffn: &Ffn) -> Option<&'static str> {
    let long = a.rope.as_ref().is_some_and(|r| r.long.is_some());
    match ffn {
        _ if a.latent.is_some() => Some("latent attention"),
        _ if long => Some("LongRoPE"),
        Ffn::Dense {
            activation: Activation::ClampedSwiglu { .. },
            ..
        } => Some("clamped SwiGLU"),
        Ffn::Moe(Moe {
            activation: Activation::ClampedSwiglu { .. },
            ..
        }) => Some("clamped SwiGLU"),
        Ffn::Moe(moe) if moe.biases => Some("biased experts"),
        Ffn::Moe(moe) if moe.choice_bias || moe.groups.is_some() => {
            Some("choice of experts by group")
        }
        _ => None,
    }
}
