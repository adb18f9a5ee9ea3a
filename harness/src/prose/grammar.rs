//! The grammar behind the prose: word lists, sentence frames with slots, and agreement.

use std::collections::HashMap;

use crate::rng::Rng;

/// Word lists and topics, parsed.
#[derive(Debug)]
pub struct Grammar {
    words: HashMap<String, Vec<Word>>,
    pub topics: Vec<Topic>,
}

#[derive(Clone, Debug)]
struct Word {
    one: String,
    many: String,
}

/// Sentences on one subject.
#[derive(Debug)]
pub struct Topic {
    /// `@name: a, b`: drawn once a paragraph.
    fixed: Vec<(String, Vec<String>)>,
    pub frames: Vec<Frame>,
    /// Index of the last of the openings, which stand first.
    pub last_opening: usize,
}

/// A sentence with slots.
#[derive(Debug)]
pub struct Frame {
    text: String,
    /// One of the sentences that may begin a paragraph.
    pub opening: bool,
    /// Makes sense only directly after the frame `leans_on`.
    pub leans: bool,
    pub leans_on: usize,
}

/// Someone a paragraph speaks of.
#[derive(Clone, Debug)]
struct Person {
    full: String,
    short: String,
    woman: bool,
    /// Sentences since the last mention; `None` before the first.
    silence: Option<usize>,
}

/// What stays the same within a paragraph, and what must not be drawn twice in it.
#[derive(Clone, Debug)]
pub struct Scene {
    who: Person,
    other: Person,
    fixed: HashMap<String, Word>,
    used: Vec<String>,
}

/// Lists of which a paragraph uses one word throughout.
const CONSTANT: [&str; 9] = [
    "town", "town2", "street", "inn", "season", "month", "office", "feast", "boat",
];

impl Grammar {
    /// Parses `words.txt` and `topics.txt`; both are compiled in and tested, so a mistake in them is a panic there.
    pub fn parse(words: &str, topics: &str) -> Self {
        let mut grammar = Self {
            words: HashMap::new(),
            topics: Vec::new(),
        };
        for line in words
            .lines()
            .filter(|l| !l.starts_with('#') && !l.trim().is_empty())
        {
            if let Some((name, list)) = line.split_once(": ") {
                grammar
                    .words
                    .insert(name.to_owned(), list.split(", ").map(Word::parse).collect());
            }
        }
        for line in topics
            .lines()
            .filter(|l| !l.starts_with('#') && !l.trim().is_empty())
        {
            if line.starts_with("== ") {
                grammar.topics.push(Topic {
                    fixed: Vec::new(),
                    frames: Vec::new(),
                    last_opening: 0,
                });
                continue;
            }
            let Some(topic) = grammar.topics.last_mut() else {
                continue;
            };
            if let Some((name, list)) = line.strip_prefix('@').and_then(|l| l.split_once(": ")) {
                topic.fixed.push((
                    name.to_owned(),
                    list.split(", ").map(str::to_owned).collect(),
                ));
                continue;
            }
            let index = topic.frames.len();
            let opening = line.starts_with("! ");
            let leans = line.starts_with("& ");
            if opening {
                topic.last_opening = index;
            }
            let text = line
                .trim_start_matches("! ")
                .trim_start_matches("& ")
                .to_owned();
            topic.frames.push(Frame {
                text,
                opening,
                leans,
                leans_on: index.saturating_sub(1),
            });
        }
        grammar
    }

    /// The sentence, its slots filled.
    pub fn render(&self, frame: &Frame, scene: &mut Scene, rng: &mut Rng) -> String {
        for person in [&mut scene.who, &mut scene.other] {
            person.silence = person.silence.map(|n| n + 1);
        }
        let sentence = self.fill(&frame.text, scene, rng);
        capitalised(&sentence)
    }

    fn fill(&self, template: &str, scene: &mut Scene, rng: &mut Rng) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '[']) {
            out.push_str(&rest[..at]);
            let close = if rest[at..].starts_with('{') {
                '}'
            } else {
                ']'
            };
            let end = at + rest[at..].find(close).unwrap_or(rest.len() - at - 1);
            let inside = &rest[at + 1..end];
            if close == '}' {
                out.push_str(&self.slot(inside, scene, rng));
            } else {
                let choices: Vec<&str> = inside.split('|').collect();
                let chosen = *rng.choose(&choices);
                out.push_str(&self.fill(chosen, scene, rng));
            }
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        out
    }

    fn slot(&self, slot: &str, scene: &mut Scene, rng: &mut Rng) -> String {
        match slot {
            "Who" => scene.who.name(),
            "who" => scene.who.subject(rng),
            "whose" => scene.who.possessive(),
            "whom" => scene.who.object(),
            "other" => scene.other.name(),
            "whose2" => scene.other.possessive(),
            _ => {
                if let Some(list) = slot.strip_prefix("a ") {
                    with_article(&self.draw(list, scene, rng).one)
                } else if let Some(list) = slot.strip_prefix('+') {
                    self.draw(list, scene, rng).many
                } else {
                    self.draw(slot, scene, rng).one
                }
            }
        }
    }

    /// A word of a list: the paragraph's, or one that the paragraph has not used.
    fn draw(&self, list: &str, scene: &mut Scene, rng: &mut Rng) -> Word {
        let list = match list {
            "place" => "town",
            "place2" => "town2",
            other => other,
        };
        if let Some(word) = scene.fixed.get(list) {
            return word.clone();
        }
        let words = self
            .words
            .get(list.trim_end_matches('2'))
            .map_or(&[][..], Vec::as_slice);
        assert!(!words.is_empty(), "no list of words is called {list}");
        let mut word = rng.choose(words);
        for _ in 0..20 {
            if !scene.used.contains(&word.one) {
                break;
            }
            word = rng.choose(words);
        }
        scene.used.push(word.one.clone());
        if CONSTANT.contains(&list) {
            scene.fixed.insert(list.to_owned(), word.clone());
        }
        word.clone()
    }

    fn person(&self, woman: bool, rng: &mut Rng) -> Person {
        let given = &rng
            .choose(&self.words[if woman { "woman" } else { "man" }])
            .one;
        let surname = &rng.choose(&self.words["surname"]).one;
        if rng.chance(0.25) {
            let formal = format!("{} {surname}", if woman { "Mrs" } else { "Mr" });
            return Person {
                full: formal.clone(),
                short: formal,
                woman,
                silence: None,
            };
        }
        Person {
            full: format!("{given} {surname}"),
            short: given.clone(),
            woman,
            silence: None,
        }
    }
}

impl Scene {
    /// The scene of the next paragraph; people and places often stay.
    pub fn next(grammar: &Grammar, topic: &Topic, before: Option<Self>, rng: &mut Rng) -> Self {
        let woman = rng.chance(0.5);
        let mut scene = Self {
            who: grammar.person(woman, rng),
            other: grammar.person(!woman, rng),
            fixed: HashMap::new(),
            used: Vec::new(),
        };
        if let Some(before) = before {
            if rng.chance(0.35) {
                scene.who = Person {
                    silence: None,
                    ..before.who
                };
                scene.other = Person {
                    silence: None,
                    ..before.other
                };
            }
            if rng.chance(0.5) {
                for list in ["town", "street", "inn"] {
                    if let Some(word) = before.fixed.get(list) {
                        scene.used.push(word.one.clone());
                        scene.fixed.insert(list.to_owned(), word.clone());
                    }
                }
            }
        }
        for (name, choices) in &topic.fixed {
            let chosen = rng.choose(choices).clone();
            // An owner or a patient who is "{whose} aunt" must not count as a mention of the person.
            let people = (scene.who.silence, scene.other.silence);
            let one = grammar.fill(&chosen, &mut scene, rng);
            (scene.who.silence, scene.other.silence) = people;
            scene.used.push(one.clone());
            let many = plural(&one);
            scene.fixed.insert(name.clone(), Word { one, many });
        }
        scene
    }
}

impl Person {
    fn name(&mut self) -> String {
        let first = self.silence.is_none();
        self.silence = Some(0);
        if first {
            self.full.clone()
        } else {
            self.short.clone()
        }
    }

    fn subject(&mut self, rng: &mut Rng) -> String {
        let named = match self.silence {
            None => true,
            Some(0) => false,
            Some(1) => rng.chance(0.15),
            Some(_) => rng.chance(0.6),
        };
        if named {
            return self.name();
        }
        self.silence = Some(0);
        if self.woman { "she" } else { "he" }.to_owned()
    }

    fn possessive(&mut self) -> String {
        if self.silence.is_none_or(|n| n > 2) {
            let name = self.name();
            return if name.ends_with('s') {
                format!("{name}'")
            } else {
                format!("{name}'s")
            };
        }
        self.silence = Some(0);
        if self.woman { "her" } else { "his" }.to_owned()
    }

    fn object(&mut self) -> String {
        if self.silence.is_none() {
            return self.name();
        }
        self.silence = Some(0);
        if self.woman { "her" } else { "him" }.to_owned()
    }
}

impl Word {
    fn parse(text: &str) -> Self {
        match text.split_once('/') {
            Some((one, many)) => Self {
                one: one.to_owned(),
                many: many.to_owned(),
            },
            None => Self {
                one: text.to_owned(),
                many: plural(text),
            },
        }
    }
}

/// Regular plural of the last word.
fn plural(one: &str) -> String {
    let consonant_y = one.ends_with('y')
        && !one
            .chars()
            .rev()
            .nth(1)
            .is_some_and(|c| "aeiou".contains(c));
    if consonant_y {
        format!("{}ies", &one[..one.len() - 1])
    } else if ["s", "x", "ch", "sh"].iter().any(|end| one.ends_with(end)) {
        format!("{one}es")
    } else {
        format!("{one}s")
    }
}

/// With `a` or `an`, by the first sound; words that bring their own article or number keep it.
fn with_article(word: &str) -> String {
    if ["a ", "an ", "the ", "some ", "two "]
        .iter()
        .any(|own| word.starts_with(own))
    {
        return word.to_owned();
    }
    let first = word.chars().next().unwrap_or('x').to_ascii_lowercase();
    let vowel = "aeiou".contains(first);
    let sounds_other = [
        "uniform", "use", "union", "one", "eu", "ewe", "hour", "honest", "heir",
    ]
    .iter()
    .any(|start| word.starts_with(start));
    format!("{} {word}", if vowel != sounds_other { "an" } else { "a" })
}

/// With its first letter in upper case, also behind a quotation mark.
fn capitalised(sentence: &str) -> String {
    let at = sentence.find(|c: char| c.is_alphabetic()).unwrap_or(0);
    let mut out = sentence[..at].to_owned();
    let mut letters = sentence[at..].chars();
    out.extend(letters.next().into_iter().flat_map(char::to_uppercase));
    out.push_str(letters.as_str());
    out
}
