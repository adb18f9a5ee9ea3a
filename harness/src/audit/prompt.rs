//! What services do to a prompt before the model reads it, as edits of its token ids.

use std::fmt;
use std::ops::Range;

/// Which part of a text is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The oldest tokens: a context that is full, shifted.
    Start,
    /// Routers' middle-out.
    Middle,
    /// All beyond a limit.
    End,
}

/// An edit of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum PromptEdit {
    /// A second BOS token before the first.
    DoubleBos(u32),
    /// The BOS token is missing.
    NoBos(u32),
    /// Some of the text is left out.
    Cut(Part, Amount),
    /// Another template than the model's around the text.
    Template {
        /// `none`, `chatml`, ..
        name: &'static str,
        /// Prompts in the model's own template, and in this one: a text's first and last tokens depend on what stands beside them.
        prompts: Vec<(Vec<u32>, Vec<u32>)>,
    },
    /// The tokens that begin the assistant's turn are missing at the end.
    NoTurn(Vec<u32>),
    /// Something unasked stands at this place: a system message of the service's own.
    Inserted(usize, Vec<u32>),
}

/// How much is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// A share of the text.
    Share(f64),
    /// All beyond so many tokens of the whole prompt.
    Beyond(usize),
}

/// Shares that are left out, and of the longest prompt those that a limit leaves.
const SHARES: [f64; 3] = [0.25, 0.5, 0.75];

impl PromptEdit {
    /// The edits that apply where a prompt begins with `bos`, or has none; `system` is what a usual system message adds, and
    /// where; `lengths` are those of the prompts.
    pub fn all(
        bos: Option<u32>,
        system: Option<(usize, Vec<u32>)>,
        lengths: &[usize],
    ) -> Vec<Self> {
        let shortest = lengths.iter().copied().min().unwrap_or(0);
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut all = Vec::new();
        all.extend(bos.map(Self::DoubleBos));
        all.extend(bos.map(Self::NoBos));
        for part in [Part::Start, Part::Middle, Part::End] {
            all.extend(SHARES.map(|share| Self::Cut(part, Amount::Share(share))));
            // Where all prompts are of about a length, a limit is a share.
            if 4 * shortest < 3 * longest {
                let kept = SHARES.map(|share| (longest as f64 * share) as usize);
                all.extend(kept.map(|n| Self::Cut(part, Amount::Beyond(n))));
            }
        }
        all.extend(system.map(|(at, ids)| Self::Inserted(at, ids)));
        all
    }

    /// What is wrong, in a line.
    pub fn summary(&self) -> &'static str {
        match self {
            Self::DoubleBos(_) => "two BOS tokens before the prompt",
            Self::NoBos(_) => "the prompt without its BOS token",
            Self::Cut(Part::Start, _) => "the beginning of the prompt left out",
            Self::Cut(Part::Middle, _) => "the middle of the prompt left out",
            Self::Cut(Part::End, _) => "the end of the prompt left out",
            Self::Template { .. } => "another chat template than the model's",
            Self::NoTurn(_) => "the prompt without the beginning of the assistant's turn",
            Self::Inserted(..) => "a system message that nobody sent",
        }
    }

    /// The edited prompt: each entry is the token and its place in `ids`, where it comes from there. What is left out is of
    /// `body`, the tokens of the text itself; what stands around it stays. `None` where the edit changes nothing.
    pub fn apply(&self, ids: &[u32], body: Range<usize>) -> Option<Vec<(u32, Option<usize>)>> {
        let mut own: Vec<(u32, Option<usize>)> = ids
            .iter()
            .enumerate()
            .map(|(i, id)| (*id, Some(i)))
            .collect();
        match self {
            Self::DoubleBos(bos) if ids.first() == Some(bos) => own.insert(0, (*bos, None)),
            Self::NoBos(bos) if ids.first() == Some(bos) => drop(own.remove(0)),
            Self::Cut(part, amount) => {
                let n = match amount {
                    Amount::Share(share) => (body.len() as f64 * share).round() as usize,
                    Amount::Beyond(kept) => ids.len().saturating_sub(*kept),
                };
                if n == 0 || n >= body.len() {
                    return None;
                }
                let first = match part {
                    Part::Start => body.start,
                    Part::Middle => body.start + (body.len() - n) / 2,
                    Part::End => body.end - n,
                };
                own.drain(first..first + n);
            }
            Self::Template { prompts, .. } => {
                let (_, other) = prompts.iter().find(|(own, _)| own == ids)?;
                let edited = other.iter().map(|id| (*id, None)).collect();
                return (other != ids && !other.is_empty()).then_some(edited);
            }
            Self::NoTurn(turn) if ids.ends_with(turn) => own.truncate(ids.len() - turn.len()),
            Self::Inserted(at, system) if *at <= own.len() && !system.is_empty() => {
                own.splice(*at..*at, system.iter().map(|id| (*id, None)));
            }
            _ => return None,
        }
        Some(own)
    }
}

impl fmt::Display for PromptEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoubleBos(_) => f.write_str("double-bos"),
            Self::NoBos(_) => f.write_str("no-bos"),
            Self::Cut(part, amount) => {
                let part = match part {
                    Part::Start => "start",
                    Part::Middle => "middle",
                    Part::End => "end",
                };
                match amount {
                    Amount::Share(share) => write!(f, "cut-{part}={share}"),
                    Amount::Beyond(kept) => write!(f, "cut-{part}=beyond-{kept}"),
                }
            }
            Self::Template { name, .. } => write!(f, "template={name}"),
            Self::NoTurn(_) => f.write_str("no-assistant-turn"),
            Self::Inserted(..) => f.write_str("hidden-system"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_say_where_each_token_comes_from() {
        let limits = |lengths: &[usize]| {
            let all = PromptEdit::all(None, None, lengths);
            all.iter()
                .filter(|e| e.to_string().contains("beyond"))
                .count()
        };
        assert_eq!((limits(&[384, 920]), limits(&[915, 920])), (9, 0));
        let ids = [1, 10, 11, 12, 13, 14];
        let edited = |edit: PromptEdit| {
            let edited = edit.apply(&ids, 1..5);
            edited.map(|e| e.into_iter().map(|(id, _)| id).collect::<Vec<u32>>())
        };
        assert_eq!(
            edited(PromptEdit::DoubleBos(1)),
            Some(vec![1, 1, 10, 11, 12, 13, 14])
        );
        assert_eq!(edited(PromptEdit::NoBos(1)), Some(vec![10, 11, 12, 13, 14]));
        assert_eq!(edited(PromptEdit::NoBos(2)), None);
        assert_eq!(
            edited(PromptEdit::Cut(Part::Start, Amount::Share(0.5))),
            Some(vec![1, 12, 13, 14])
        );
        assert_eq!(
            edited(PromptEdit::Cut(Part::Middle, Amount::Share(0.5))),
            Some(vec![1, 10, 13, 14])
        );
        assert_eq!(
            edited(PromptEdit::Cut(Part::End, Amount::Share(0.5))),
            Some(vec![1, 10, 11, 14])
        );
        assert_eq!(
            edited(PromptEdit::Cut(Part::End, Amount::Share(0.01))),
            None
        );
        // A limit counts what stands around the text, and leaves alone what is below it.
        assert_eq!(
            edited(PromptEdit::Cut(Part::Start, Amount::Beyond(4))),
            Some(vec![1, 12, 13, 14])
        );
        assert_eq!(
            edited(PromptEdit::Cut(Part::Start, Amount::Beyond(6))),
            None
        );
        let template = |own: &[u32], other: &[u32]| PromptEdit::Template {
            name: "other",
            prompts: vec![(own.to_vec(), other.to_vec())],
        };
        assert_eq!(
            edited(template(&ids, &[2, 10, 11, 3])),
            Some(vec![2, 10, 11, 3])
        );
        assert_eq!(edited(template(&ids, &ids)), None);
        assert_eq!(edited(template(&[1], &[2])), None);
        assert_eq!(
            edited(PromptEdit::Inserted(1, vec![7])),
            Some(vec![1, 7, 10, 11, 12, 13, 14])
        );
        let cut = PromptEdit::Cut(Part::Middle, Amount::Share(0.5)).apply(&ids, 1..5);
        let places: Vec<_> = cut
            .into_iter()
            .flatten()
            .filter_map(|(_, from)| from)
            .collect();
        assert_eq!(places, [0, 1, 4, 5]);
    }
}
