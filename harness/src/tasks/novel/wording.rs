//! How questions, options and claims about a novel are worded.

use super::super::reading::Split;
use super::cast::Person;
use super::render::{value, with_article};
use super::words::{HAPPENINGS, SECRETS, THINGS};
use super::world::{Claim, Kind, NovelQuery, Step};

/// What is needed to put facts into words.
#[derive(Clone, Copy, Debug)]
pub struct Wording<'a> {
    /// Names and sentences.
    pub split: Split,
    /// The book's people.
    pub cast: &'a [Person],
    /// Which of two wordings is used.
    pub variant: bool,
}

impl Wording<'_> {
    fn pick(&self, train: [&'static str; 2], test: [&'static str; 2]) -> &'static str {
        let pair = match self.split {
            Split::Train => train,
            Split::Test => test,
        };
        pair[usize::from(self.variant)]
    }

    fn full(&self, person: u32) -> String {
        self.cast[person as usize].full()
    }

    /// A value of a kind as an option shows it.
    pub fn value(&self, kind: Kind, v: u32) -> String {
        match kind {
            Kind::Holder => self.full(v),
            Kind::Society => format!("the {}", value(self.split, kind, v)),
            _ => value(self.split, kind, v).to_string(),
        }
    }

    /// The part of a value that passages mention.
    pub fn phrase(&self, kind: Kind, v: u32) -> String {
        match kind {
            Kind::Holder => self.cast[v as usize].first.to_string(),
            _ => value(self.split, kind, v).to_string(),
        }
    }

    /// A step in the past tense: `became a baker`.
    pub fn step(&self, (kind, v): Step) -> String {
        match kind {
            Kind::Home => format!("moved to {}", self.value(kind, v)),
            Kind::Trade => format!("became {}", with_article(value(self.split, kind, v))),
            Kind::Society => format!("joined {}", self.value(kind, v)),
            Kind::Holder => String::new(),
        }
    }

    /// The question of a query.
    pub fn question(&self, query: &NovelQuery) -> String {
        match query {
            NovelQuery::Last { kind: Kind::Holder, subject, .. } => self
                .pick(
                    ["Who has the {t} when the book ends?", "In whose possession is the {t} at the end of the book?"],
                    ["At the end of the book, who owns the {t}?", "Whose is the {t} on the last page of the book?"],
                )
                .replace("{t}", THINGS[*subject as usize]),
            NovelQuery::Last { kind, subject, .. } => match kind {
                Kind::Home => self.pick(
                    ["Where does {X} live when the book ends?", "In which town is {X} living at the end of the book?"],
                    ["At the end of the book, which town is home to {X}?", "Which town does {X} live in on the last page of the book?"],
                ),
                Kind::Trade => self.pick(
                    ["What does {X} do for a living when the book ends?", "What is the trade of {X} at the end of the book?"],
                    ["At the end of the book, what is the occupation of {X}?", "What work does {X} do on the last page of the book?"],
                ),
                _ => self.pick(
                    ["Which society does {X} belong to when the book ends?", "Of which society is {X} a member at the end of the book?"],
                    ["At the end of the book, {X} is with which society?", "Which society counts {X} among its own on the last page of the book?"],
                ),
            }
            .replace("{X}", &self.full(*subject)),
            NovelQuery::Whereabouts { thing, .. } => self
                .pick(
                    [
                        "When the book ends, in which town does the person live who has the {t}?",
                        "Somebody has the {t} at the end of the book. Where does that person live by then?",
                    ],
                    [
                        "At the end of the book, which town is home to the owner of the {t}?",
                        "Think of the one who owns the {t} on the last page of the book. Which town does that person live in?",
                    ],
                )
                .replace("{t}", THINGS[*thing as usize]),
            NovelQuery::Order { person, .. } => self
                .pick(
                    ["In which order did this happen to {X}?", "Which of these is the order of events in the life of {X}?"],
                    ["How did the life of {X} go, from first to last?", "In what sequence did {X} do these things?"],
                )
                .replace("{X}", &self.full(*person)),
            NovelQuery::Knew { secret, happening, people } => self
                .pick(
                    [
                        "Before {e}, which of these two knew the truth about {s}: {A} or {B}?",
                        "When it came to {e}, who already knew the truth about {s}: {A}, or {B}?",
                    ],
                    [
                        "By the time of {e}, which of the two, {A} and {B}, had been let into the secret of {s}?",
                        "Who was aware of the truth about {s} before {e}: {A}, {B}?",
                    ],
                )
                .replace("{e}", HAPPENINGS[*happening as usize].name)
                .replace("{s}", SECRETS[*secret as usize].topic)
                .replace("{A}", &self.full(people[0]))
                .replace("{B}", &self.full(people[1])),
            NovelQuery::Claim(_) => self
                .pick(
                    ["Is this claim about the book true or false?", "Does the book make this claim true or false?"],
                    ["True or false, according to the book?", "Judge this claim by the whole book: is it true or false?"],
                )
                .to_string(),
            NovelQuery::Arc { person } => self
                .pick(
                    [
                        "Describe the arc of {X} in this book.",
                        "Tell in a few sentences how the life of {X} goes in this book.",
                    ],
                    [
                        "What becomes of {X} over the course of the book? Describe the arc.",
                        "Describe the arc of this character to me: {X}.",
                    ],
                )
                .replace("{X}", &self.full(*person)),
        }
    }

    /// A claim as a sentence.
    pub fn claim(&self, claim: &Claim) -> String {
        match claim {
            Claim::Last(Kind::Holder, thing, v) => {
                format!(
                    "At the end of the book, the {} belongs to {}.",
                    THINGS[*thing as usize],
                    self.full(*v)
                )
            }
            Claim::Last(Kind::Home, p, v) => {
                format!(
                    "At the end of the book, {} lives in {}.",
                    self.full(*p),
                    self.value(Kind::Home, *v)
                )
            }
            Claim::Last(Kind::Trade, p, v) => {
                let trade = with_article(value(self.split, Kind::Trade, *v));
                format!("At the end of the book, {} is {trade}.", self.full(*p))
            }
            Claim::Last(kind, p, v) => {
                format!(
                    "At the end of the book, {} is a member of {}.",
                    self.full(*p),
                    self.value(*kind, *v)
                )
            }
            Claim::Whereabouts(thing, _, [place, _]) => format!(
                "At the end of the book, the owner of the {} lives in {}.",
                THINGS[*thing as usize],
                self.value(Kind::Home, *place)
            ),
            Claim::Before(p, first, second) => {
                let he = self.cast[*p as usize].pronouns.he;
                format!(
                    "{} {} before {he} {}.",
                    self.full(*p),
                    self.step(*first),
                    self.step(*second)
                )
            }
            Claim::Knew(p, secret, happening) => format!(
                "{} knew the truth about {} before {}.",
                self.full(*p),
                SECRETS[*secret as usize].topic,
                HAPPENINGS[*happening as usize].name
            ),
        }
    }
}
