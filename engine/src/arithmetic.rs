//! How much there is to compute for a prompt, from the model's shapes and masks alone.

use crate::model::Model;
use crate::spec::{Ffn, Mask};
use crate::weights::Weight;

/// Floating-point operations, two a multiply-add.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flop {
    /// Matrices that every token passes, those behind the last layer's keys and the head for one.
    pub matrices: f64,
    /// Routed experts.
    pub experts: f64,
    /// Attention over what the masks leave visible.
    pub attention: f64,
}

impl Flop {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.matrices + self.experts + self.attention
    }
}

impl Model {
    /// The operations of a prompt of `n` tokens, read at once, with the logits of its last.
    pub fn prompt_flop(&self, n: usize) -> Flop {
        if n == 0 {
            return Flop::default();
        }
        let mut flop = Flop {
            matrices: of([&self.weights.head]),
            ..Flop::default()
        };
        let layers = self.spec.layers.iter().zip(&self.weights.layers);
        for (i, (layer, weights)) in layers.enumerate() {
            let last = i + 1 == self.spec.layers.len();
            let (dense, routed) = weights.matrices();
            // Rows that pass all of the layer, and those that leave it with their keys.
            let whole = if last { 1 } else { n };
            flop.matrices += whole as f64 * of(dense);
            flop.matrices += (n - whole) as f64 * of(weights.cached_matrices());
            if let Ffn::Moe(moe) = &layer.ffn {
                let share = moe.n_used as f64 / moe.n_experts as f64;
                flop.experts += whole as f64 * share * of(routed);
            }
            let seen = match last {
                true => (n - layer.mask.first_visible(n - 1)) as f64,
                false => pairs(layer.mask, n),
            };
            flop.attention += layer.pair_flop() * seen;
        }
        flop
    }

    /// The operations of the attention of one token behind `n` others.
    pub fn token_attention_flop(&self, n: usize) -> f64 {
        let layers = self.spec.layers.iter();
        layers
            .map(|l| l.pair_flop() * (n + 1 - l.mask.first_visible(n)) as f64)
            .sum()
    }
}

/// One token's products with matrices.
fn of<'a>(matrices: impl IntoIterator<Item = &'a Weight>) -> f64 {
    let sizes = matrices.into_iter().map(|w| w.rows() * w.cols());
    2.0 * sizes.sum::<usize>() as f64
}

impl crate::spec::LayerSpec {
    /// Operations for one token and one position that it sees, in all heads.
    fn pair_flop(&self) -> f64 {
        let a = &self.attention;
        (2 * a.n_heads * (a.key_width() + a.value_width())) as f64
    }
}

/// Pairs of a token and a position that it sees, itself included, in a sequence of `n`.
fn pairs(mask: Mask, n: usize) -> f64 {
    let triangle = |n: usize| n as f64 * (n as f64 + 1.0) / 2.0;
    match mask {
        Mask::Full => triangle(n),
        Mask::Window(w) => triangle(n.min(w)) + n.saturating_sub(w) as f64 * w as f64,
        Mask::Chunk(c) => (n / c) as f64 * triangle(c) + triangle(n % c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_those_counted_one_by_one() {
        for mask in [Mask::Full, Mask::Window(5), Mask::Chunk(4)] {
            for n in 0..20 {
                let counted: usize = (0..n).map(|p| p + 1 - mask.first_visible(p)).sum();
                assert_eq!(pairs(mask, n), counted as f64, "{mask:?}, {n}");
            }
        }
    }
}
