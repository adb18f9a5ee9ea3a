//! Which prompts of a group continue which: a trunk is evaluated once, and its branches leave it.

/// A prompt that is evaluated whole, and the prompts that have its beginning in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// Index of the prompt.
    pub prompt: usize,
    /// Index of a branch's prompt, and how many tokens it has in common; fewer than the branch has.
    pub branches: Vec<(usize, usize)>,
}

/// A beginning is worth sharing when it is at least this long, and at least a quarter of the prompt.
pub const WORTH: usize = 32;

/// Sorts prompts into trunks and branches: the longest first, each to the trunk with which it has most in common.
pub fn trunks(prompts: &[&[u32]]) -> Vec<Trunk> {
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(prompts[*i].len()));
    let mut trunks: Vec<Trunk> = Vec::new();
    for i in order {
        let len = prompts[i].len();
        let best = trunks
            .iter_mut()
            .map(|t| {
                (
                    common(prompts[t.prompt], prompts[i]).min(len.saturating_sub(1)),
                    t,
                )
            })
            .max_by_key(|(n, _)| *n);
        match best {
            Some((n, trunk)) if n >= WORTH && 4 * n >= len => trunk.branches.push((i, n)),
            _ => trunks.push(Trunk {
                prompt: i,
                branches: Vec::new(),
            }),
        }
    }
    trunks
}

/// Tokens that two prompts begin with in common.
pub fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_the_trunk_of_its_questions() {
        let document: Vec<u32> = (0..200).collect();
        let short = [&document[..60], &[900, 901]].concat();
        let long = [&document[..], &[900, 902]].concat();
        let other: Vec<u32> = (500..600).collect();
        let prompts = [&short[..], &other, &long, &long, &document[..10]];
        let found = trunks(&prompts);
        assert_eq!(found.len(), 3);
        assert_eq!(
            found[0],
            Trunk {
                prompt: 2,
                branches: vec![(3, 201), (0, 60)]
            }
        );
        assert_eq!(
            found[1],
            Trunk {
                prompt: 1,
                branches: vec![]
            }
        );
        assert_eq!(
            found[2],
            Trunk {
                prompt: 4,
                branches: vec![]
            }
        );
    }
}
