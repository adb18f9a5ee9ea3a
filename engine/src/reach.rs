//! From which position on a fault can show: derived from what it changes, not from its name.

use crate::spec::{LayerSpec, Mask, ModelSpec, Rope, Temperature};

/// The first position after which the logits of two specs of one model can differ; `None` when they are equal.
///
/// Position p can show it in a text of p + 1 tokens, and no shorter text can. Whether it does is the weights' affair.
///
/// ```
/// # use fathom_engine::spec::Mask;
/// assert_eq!(fathom_engine::reach::of_masks(Mask::Chunk(8192), Mask::Full), Some(8192));
/// ```
pub fn first_difference(sound: &ModelSpec, faulty: &ModelSpec) -> Option<usize> {
    let outside = ModelSpec {
        layers: sound.layers.clone(),
        ..faulty.clone()
    };
    if outside != *sound || sound.layers.len() != faulty.layers.len() {
        return Some(0);
    }
    let layers = sound.layers.iter().zip(&faulty.layers);
    layers.filter_map(|(a, b)| of_layers(a, b)).min()
}

fn of_layers(sound: &LayerSpec, faulty: &LayerSpec) -> Option<usize> {
    if sound == faulty {
        return None;
    }
    // Position 0 attends to itself alone, whatever its query and its key are: these show from 1 on.
    let (a, b) = (&sound.attention, &faulty.attention);
    let mut rest = faulty.clone();
    rest.mask = sound.mask;
    rest.attention.temperature = a.temperature;
    let long = of_long_lists(a.rope.as_ref(), b.rope.as_ref());
    if long.is_some() {
        rest.attention.rope.clone_from(&a.rope);
    }
    if rest != *sound {
        rest.attention.rope.clone_from(&a.rope);
        rest.attention.qk_norm = a.qk_norm;
        rest.attention.scale = a.scale;
        rest.attention.softcap = a.softcap;
        return Some(usize::from(rest == *sound));
    }
    let mask = of_masks(sound.mask, faulty.mask);
    let temperature = of_temperatures(a.temperature, b.temperature);
    mask.into_iter().chain(temperature).chain(long).min()
}

/// Two rotary embeddings that differ in nothing but LongRoPE's list for long sequences: where only one of them has it, its
/// limit tells.
fn of_long_lists(a: Option<&Rope>, b: Option<&Rope>) -> Option<usize> {
    let (a, b) = (a?, b?);
    let rest = Rope {
        long: a.long.clone(),
        ..b.clone()
    };
    match (&a.long, &b.long) {
        _ if a == b || rest != *a => None,
        (Some((limit, _)), None) | (None, Some((limit, _))) => Some(*limit),
        _ => Some(1),
    }
}

/// The first position that sees something else.
pub fn of_masks(a: Mask, b: Mask) -> Option<usize> {
    let size = |mask| match mask {
        Mask::Full => 0,
        Mask::Window(n) | Mask::Chunk(n) => n,
    };
    (0..=size(a).max(size(b))).find(|&p| a.first_visible(p) != b.first_visible(p))
}

/// The first position whose queries have another factor: factors are constant up to the first step.
fn of_temperatures(a: Option<Temperature>, b: Option<Temperature>) -> Option<usize> {
    let factor = |t: Option<Temperature>, p| t.map_or(1.0, |t| t.factor(p));
    let mut places: Vec<usize> = [a, b].into_iter().flatten().map(|t| t.start(1)).collect();
    places.push(0);
    places.sort_unstable();
    places.into_iter().find(|&p| factor(a, p) != factor(b, p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_differ_where_one_hides_what_the_other_shows() {
        for (a, b, first) in [
            (Mask::Chunk(16), Mask::Full, Some(16)),
            (Mask::Chunk(16), Mask::Window(16), Some(16)),
            (Mask::Window(16), Mask::Window(17), Some(16)),
            (Mask::Chunk(12), Mask::Chunk(16), Some(12)),
            (Mask::Full, Mask::Full, None),
        ] {
            assert_eq!(of_masks(a, b), first, "{a:?} {b:?}");
        }
    }

    #[test]
    fn temperatures_differ_from_the_first_step_on() {
        let of = |offset, floor, scale| Temperature {
            offset,
            floor,
            scale,
        };
        let t = |floor, scale| Some(of(1, floor, scale));
        assert_eq!(of_temperatures(t(8192.0, 0.1), None), Some(8191));
        assert_eq!(of_temperatures(t(8192.0, 0.1), t(4096.0, 0.1)), Some(4095));
        assert_eq!(of_temperatures(t(8.0, 0.1), t(8.0, 0.2)), Some(7));
        assert_eq!(of_temperatures(t(8.0, 0.1), t(8.0, 0.1)), None);
        let without = Some(of(0, 8.0, 0.1));
        assert_eq!(of_temperatures(without, None), Some(8));
        assert_eq!(of_temperatures(without, t(8.0, 0.1)), Some(7));
    }
}
