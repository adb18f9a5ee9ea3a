//! The people of a book.

use super::super::reading::Split;
use super::names::{self, Names};
use crate::rng::Rng;

/// Words that stand for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pronouns {
    /// `he`
    pub he: &'static str,
    /// `him`
    pub him: &'static str,
    /// `his` before a noun
    pub his: &'static str,
    /// `his` by itself
    pub hers: &'static str,
    /// `himself`
    pub himself: &'static str,
}

const SHE: Pronouns = Pronouns {
    he: "she",
    him: "her",
    his: "her",
    hers: "hers",
    himself: "herself",
};
const HE: Pronouns = Pronouns {
    he: "he",
    him: "him",
    his: "his",
    hers: "his",
    himself: "himself",
};

/// A person of a book. First names and surnames are each unique in it.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// First name.
    pub first: &'static str,
    /// Surname.
    pub surname: &'static str,
    /// The person's pronouns.
    pub pronouns: Pronouns,
}

impl Person {
    /// Both names.
    pub fn full(&self) -> String {
        format!("{} {}", self.first, self.surname)
    }
}

/// The names of a split.
pub fn names(split: Split) -> &'static Names {
    match split {
        Split::Train => &names::TRAIN,
        Split::Test => &names::TEST,
    }
}

/// Draws this many people, women and men alike.
pub fn draw(rng: &mut Rng, names: &Names, n: usize) -> Vec<Person> {
    let women = rng.sample(names.women.len(), n);
    let men = rng.sample(names.men.len(), n);
    let surnames = rng.sample(names.surnames.len(), n);
    (0..n)
        .map(|i| {
            let surname = names.surnames[surnames[i]];
            if rng.chance(0.5) {
                Person {
                    first: names.women[women[i]],
                    surname,
                    pronouns: SHE,
                }
            } else {
                Person {
                    first: names.men[men[i]],
                    surname,
                    pronouns: HE,
                }
            }
        })
        .collect()
}
