//! From a scene to its sentences.

use std::collections::HashMap;

use super::super::reading::Split;
use super::cast::{Person, names};
use super::templates::Templates;
use super::templates_test::TEST;
use super::templates_train::TRAIN;
use super::words::{HAPPENINGS, SECRETS, SOCIETIES, THINGS, TRADES};
use super::world::{Kind, Relation};
use crate::rng::Rng;

/// Something that a passage tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// A fact: subject, relation, object, and the person from whom a secret is heard (or not).
    Fact(u32, Relation, u32, Option<u32>),
    /// Two people meet, and nothing changes.
    Meeting(u32, u32),
}

/// The place of a scene in the year.
#[derive(Clone, Copy, Debug)]
pub struct Season {
    /// Spring, summer, autumn, winter.
    pub index: usize,
    /// How far it has passed, 0 to 1.
    pub passed: f64,
}

/// Writes the passages of one book, in order.
#[derive(Debug)]
pub struct Renderer<'a> {
    rng: Rng,
    split: Split,
    templates: &'static Templates,
    cast: &'a [Person],
    /// How often a passage ends with a sentence that changes nothing.
    decoration: f64,
    /// Who has been named in full.
    introduced: Vec<bool>,
    /// For each list of sentences, what remains of its shuffled order; the last one used is at the front of `used`.
    bags: HashMap<*const &'static str, Bag>,
}

#[derive(Debug, Default)]
struct Bag {
    left: Vec<usize>,
    last: Option<usize>,
}

impl<'a> Renderer<'a> {
    /// A writer that knows these people.
    pub fn new(seed: u64, split: Split, cast: &'a [Person], decoration: f64) -> Self {
        let templates = match split {
            Split::Train => &TRAIN,
            Split::Test => &TEST,
        };
        let introduced = vec![false; cast.len()];
        Self {
            rng: Rng::new(seed),
            split,
            templates,
            cast,
            decoration,
            introduced,
            bags: HashMap::new(),
        }
    }

    /// The sentences of a scene.
    pub fn passage(&mut self, scene: Scene, season: Season) -> String {
        let t = self.templates;
        let mut slots = Slots {
            season,
            ..Slots::default()
        };
        let template = match scene {
            Scene::Meeting(a, b) => {
                slots.person = Some(a);
                slots.other = Some(b);
                self.draw(t.meeting)
            }
            Scene::Fact(subject, Relation::Happens, ..) => HAPPENINGS[subject as usize].scene,
            Scene::Fact(subject, relation, object, by) => {
                slots.person = Some(subject);
                slots.other = by;
                match relation {
                    Relation::Becomes(kind) | Relation::Declined(kind) => {
                        slots.value = value(self.split, kind, object);
                        if kind == Kind::Holder {
                            slots.person = Some(object);
                            slots.value = THINGS[subject as usize];
                        }
                        let becomes = matches!(relation, Relation::Becomes(_));
                        let (yes, no, causes): (_, _, &[&str]) = match kind {
                            Kind::Home => (t.home, t.home_declined, t.home_cause),
                            Kind::Trade => (t.trade, t.trade_declined, t.trade_cause),
                            Kind::Society => (t.society, t.society_declined, t.society_cause),
                            Kind::Holder => (t.holder, t.holder_declined, &[]),
                        };
                        let template = self.draw(if becomes { yes } else { no });
                        let given = template.contains("{Cause}")
                            || (template.contains("{cause}")
                                && self.rng.chance(0.25 + self.decoration));
                        if given {
                            slots.cause = self.draw(causes);
                        }
                        template
                    }
                    _ => {
                        slots.secret = Some(object);
                        match (relation, by) {
                            (Relation::Learns, None) => self.draw(t.found_out),
                            (Relation::Learns, Some(_)) => self.draw(t.told),
                            _ => self.draw(t.not_told),
                        }
                    }
                }
            }
        };
        let mut text = self.fill(template, &mut slots);
        if self.rng.chance(self.decoration) {
            let list = if self.rng.chance(0.5) {
                t.season[season.index]
            } else {
                t.aside
            };
            text.push(' ');
            text.push_str(self.draw(list));
        }
        text
    }

    /// The next sentence of a list: all of them in random order before any comes again, and never one twice running.
    fn draw(&mut self, list: &'static [&'static str]) -> &'static str {
        let bag = self.bags.entry(list.as_ptr()).or_default();
        if bag.left.is_empty() {
            bag.left = self.rng.sample(list.len(), list.len());
            if bag.left.len() > 1 && bag.left.last().copied() == bag.last {
                bag.left.swap(0, list.len() - 1);
            }
        }
        bag.last = bag.left.pop();
        list[bag.last.unwrap_or(0)]
    }

    /// Fills a template's slots from left to right.
    fn fill(&mut self, template: &str, slots: &mut Slots) -> String {
        let mut text = String::new();
        let mut rest = template;
        while let Some(open) = rest.find('{') {
            text.push_str(&rest[..open]);
            let Some(close) = rest[open..].find('}') else {
                break;
            };
            let name = &rest[open + 1..open + close];
            rest = &rest[open + close + 1..];
            let filled = self.slot(name, slots);
            if filled.is_empty() {
                // A reason that is not given leaves no double space.
                if text.is_empty() {
                    rest = rest.trim_start();
                } else if text.ends_with(' ') && rest.is_empty() {
                    text.pop();
                } else if text.ends_with(' ') {
                    rest = rest.trim_start();
                }
            }
            text.push_str(&filled);
        }
        text.push_str(rest);
        capitalize(&text)
    }

    fn slot(&mut self, name: &str, slots: &mut Slots) -> String {
        match name {
            "X" => self.name(slots.person, &mut slots.named),
            "x" => slots
                .person
                .map_or(String::new(), |p| self.cast[p as usize].first.to_string()),
            "T" => self.name(slots.other, &mut slots.other_named),
            "v" | "t" => slots.value.to_string(),
            "av" => with_article(slots.value),
            "Av" => capitalize(&with_article(slots.value)),
            "s" => slots
                .secret
                .map_or("", |s| SECRETS[s as usize].topic)
                .to_string(),
            "truth" => slots
                .secret
                .map_or("", |s| SECRETS[s as usize].truth)
                .to_string(),
            "Truth" => capitalize(slots.secret.map_or("", |s| SECRETS[s as usize].truth)),
            "when" | "When" => {
                let list = self.templates.when[slots.season.index];
                let at = (slots.season.passed * list.len() as f64) as usize;
                let when = list[at.min(list.len() - 1)];
                if name == "When" {
                    capitalize(when)
                } else {
                    when.to_string()
                }
            }
            "cause" | "Cause" => {
                if slots.cause.is_empty() {
                    return String::new();
                }
                self.fill(slots.cause, slots)
            }
            pronoun => self.pronoun(pronoun, slots),
        }
    }

    /// A pronoun, or the name where nobody has been named yet.
    fn pronoun(&mut self, pronoun: &str, slots: &mut Slots) -> String {
        let Some(person) = slots.person else {
            return String::new();
        };
        let p = self.cast[person as usize].pronouns;
        let lower = pronoun.to_lowercase();
        let possessive = matches!(lower.as_str(), "his" | "hers");
        let word = if !slots.named {
            let name = self.name(Some(person), &mut slots.named);
            if possessive {
                format!("{name}'s")
            } else {
                name
            }
        } else {
            match lower.as_str() {
                "he" => p.he,
                "him" => p.him,
                "his" => p.his,
                "hers" => p.hers,
                "self" => p.himself,
                _ => "",
            }
            .to_string()
        };
        if pronoun.starts_with(char::is_uppercase) {
            capitalize(&word)
        } else {
            word
        }
    }

    /// A person's name: in full where the book has not yet introduced the person, and now and then again.
    fn name(&mut self, person: Option<u32>, named: &mut bool) -> String {
        let Some(person) = person.map(|p| p as usize) else {
            return String::new();
        };
        let first = *named || (self.introduced[person] && self.rng.chance(0.6));
        *named = true;
        if first {
            return self.cast[person].first.to_string();
        }
        self.introduced[person] = true;
        self.cast[person].full()
    }
}

/// What a template's slots stand for in one passage.
#[derive(Debug)]
struct Slots {
    person: Option<u32>,
    named: bool,
    other: Option<u32>,
    other_named: bool,
    value: &'static str,
    secret: Option<u32>,
    cause: &'static str,
    season: Season,
}

impl Default for Slots {
    fn default() -> Self {
        let season = Season {
            index: 0,
            passed: 0.0,
        };
        Self {
            person: None,
            named: false,
            other: None,
            other_named: false,
            value: "",
            secret: None,
            cause: "",
            season,
        }
    }
}

/// A value that is no person, in words.
pub fn value(split: Split, kind: Kind, value: u32) -> &'static str {
    let value = value as usize;
    match kind {
        Kind::Home => names(split).places[value],
        Kind::Trade => TRADES[value].noun,
        Kind::Society => SOCIETIES[value],
        Kind::Holder => "",
    }
}

/// With its first letter in upper case, also behind a quotation mark.
pub fn capitalize(text: &str) -> String {
    let mut done = false;
    text.chars()
        .map(|c| {
            if done || !c.is_alphabetic() {
                return c;
            }
            done = true;
            c.to_ascii_uppercase()
        })
        .collect()
}

/// With `a` or `an`.
pub fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}
