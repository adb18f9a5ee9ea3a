//! What every spec must satisfy before weights are looked for.

use super::{Ffn, ModelSpec};
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
            if let Some(l) = a.latent {
                let found = format!("{l:?} in heads of {}", a.head_dim);
                if l.rope_dim >= a.head_dim || l.rope_dim == 0 {
                    return fail("latent attention", found, "rope_dim below the head's");
                }
                let sizes = [l.kv_rank, l.v_dim, l.q_rank.unwrap_or(1)];
                if sizes.iter().any(|s| *s == 0 || *s > MAX_HEAD_DIM) {
                    return fail("latent attention", found, "sizes of 1 to 65536");
                }
                if a.n_kv_heads != 1 || a.qk_norm.is_some() {
                    let expected = "one cached head and no norm on heads";
                    return fail("latent attention", found, expected);
                }
            }
            let rotated = a.latent.map_or(a.head_dim, |l| l.rope_dim);
            if let Some(rope) = &a.rope
                && (rope.rotary_dim() > rotated || rope.inv_freq.is_empty())
            {
                return fail(
                    "rotary dimensions",
                    rope.rotary_dim().to_string(),
                    &format!("2 to {rotated}, even"),
                );
            }
            if let Some(rope) = &a.rope
                && let Some((_, long)) = &rope.long
                && long.len() != rope.inv_freq.len()
            {
                let expected = format!("{}, as for short sequences", rope.inv_freq.len());
                return fail("long frequencies", long.len().to_string(), &expected);
            }
            if let Ffn::Moe(moe) = &layer.ffn
                && (moe.n_used > moe.n_experts || moe.n_experts > MAX_EXPERTS)
            {
                let found = format!("{} of {} experts used", moe.n_used, moe.n_experts);
                return fail("experts", found, "no more than there are, at most 65536");
            }
            if let Ffn::Moe(moe) = &layer.ffn
                && let Some(groups) = moe.groups
                && (groups.n == 0
                    || !moe.n_experts.is_multiple_of(groups.n)
                    || groups.used > groups.n
                    || groups.used * (moe.n_experts / groups.n) < moe.n_used)
            {
                let found = format!(
                    "{} of {} groups of {} experts",
                    groups.used, groups.n, moe.n_experts
                );
                let expected = "groups of equal size, with room for the experts used";
                return fail("groups of experts", found, expected);
            }
        }
        Ok(())
    }
}
