//! A collection of papers: their sections one after another, then the notes that were added later.

use super::super::reading::{Split, letter};
use super::super::shortcuts::View;
use super::words::{PROTOCOLS, Sentences, TEST, TOPICS, TRAIN, Topic};
use super::world::{PaperFact, Relation};
use crate::rng::Rng;

/// What a collection is made of: for every paper its facts, and its layout.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What each paper says.
    pub papers: Vec<Vec<(Relation, u32)>>,
    /// Whether papers are followed by an audit instead of being described by their enrolment.
    pub layout: Layout,
    /// A paper that is older than all others, if there must be one.
    pub oldest: Option<u32>,
    /// Whether papers have a discussion.
    pub discussion: bool,
}

/// Which sections stand for which facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Enrolment, exclusion, later withdrawal.
    Sample,
    /// Audit, review, note on the data.
    Points,
    /// Outcome, group, direction, later correction.
    Finding,
    /// Outcome, protocol.
    Protocol,
}

/// A collection as written.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Which sections there are.
    pub layout: Layout,
    /// The passages.
    pub passages: Vec<String>,
    /// The facts; passages are numbered in document order.
    pub facts: Vec<PaperFact>,
}

/// The sentences of a split.
pub fn sentences(split: Split) -> &'static Sentences {
    match split {
        Split::Train => &TRAIN,
        Split::Test => &TEST,
    }
}

/// A line of research of a split.
pub fn topic(rng: &mut Rng, split: Split) -> &'static Topic {
    let half = TOPICS.len() / 2;
    let from = if split == Split::Train { 0 } else { half };
    &TOPICS[from + rng.below(half)]
}

/// `Paper B` where papers are ranked, `Paper 2` where options have letters.
pub fn label(layout: Layout, paper: u32) -> String {
    match layout {
        Layout::Sample | Layout::Points => format!("Paper {}", letter(paper as usize)),
        Layout::Finding | Layout::Protocol => format!("Paper {}", paper + 1),
    }
}

/// A protocol's name: `Basalt-4`.
pub fn protocol(number: u32) -> String {
    let number = number as usize;
    format!(
        "{}-{}",
        PROTOCOLS[number % PROTOCOLS.len()],
        2 + number / PROTOCOLS.len()
    )
}

/// What is needed to write the sections.
struct Writer<'a> {
    rng: &'a mut Rng,
    layout: Layout,
    s: &'static Sentences,
    topic: &'static Topic,
    groups: &'a [&'static str],
    authors: Vec<String>,
    years: Vec<usize>,
    /// The last sentence drawn from each list, so that none comes twice running.
    last: Vec<&'static str>,
}

/// A section: the paper, its heading, what it says.
type Section = (u32, &'static str, Option<(Relation, u32)>);

/// Writes a collection. `groups` are the names of the group facts' objects.
pub fn write(
    rng: &mut Rng,
    plan: &Plan,
    split: Split,
    topic: &'static Topic,
    surnames: &[&'static str],
    groups: &[&'static str],
) -> Collection {
    let n = plan.papers.len();
    let names = rng.sample(surnames.len(), 2 * n);
    let authors = names
        .chunks(2)
        .map(|two| format!("{} and {}", surnames[two[0]], surnames[two[1]]))
        .collect();
    let mut years: Vec<usize> = rng.sample(28, n).into_iter().map(|y| 1972 + y).collect();
    if let Some(oldest) = plan.oldest {
        years[oldest as usize] = 1961 + rng.below(9);
    }
    let (mut sections, mut notes) = (Vec::new(), Vec::new());
    for (p, said) in (0u32..).zip(&plan.papers) {
        let fact = |relation| said.iter().copied().find(|(r, _)| *r == relation);
        let own = fact(Relation::Protocol).or(fact(Relation::Repeats));
        let (body, note): (Vec<Section>, Section) = match plan.layout {
            Layout::Sample => (
                vec![
                    (p, "Abstract", None),
                    (p, "Methods", fact(Relation::Base)),
                    (p, "Results", fact(Relation::Cut)),
                ],
                (p, "Later withdrawals", fact(Relation::LaterCut)),
            ),
            Layout::Points => (
                vec![
                    (p, "Abstract", None),
                    (p, "Audit of the registration", fact(Relation::Base)),
                    (p, "Review of the methods", fact(Relation::Cut)),
                ],
                (p, "Note on the data", fact(Relation::LaterCut)),
            ),
            Layout::Finding => (
                vec![
                    (p, "Abstract", fact(Relation::Measure)),
                    (p, "Methods", fact(Relation::Group)),
                    (p, "Results", fact(Relation::Direction)),
                ],
                (p, "Correction", fact(Relation::Reversed)),
            ),
            Layout::Protocol => (
                vec![
                    (p, "Abstract", fact(Relation::Measure)),
                    (p, "Methods", own),
                ],
                (p, "Correction", None),
            ),
        };
        sections.extend(body);
        if plan.discussion {
            sections.push((p, "Discussion", None));
        }
        notes.push(note);
    }
    rng.shuffle(&mut notes);
    if plan.layout == Layout::Protocol {
        // Nothing that is asked depends on the corrections: one is enough.
        notes.truncate(1);
    }
    sections.extend(notes);
    let mut writer = Writer {
        rng,
        layout: plan.layout,
        s: sentences(split),
        topic,
        groups,
        authors,
        years,
        last: Vec::new(),
    };
    let passages = sections
        .iter()
        .map(|section| writer.section(section))
        .collect();
    let facts = sections
        .iter()
        .enumerate()
        .filter_map(|(passage, (subject, _, fact))| {
            let (relation, object) = (*fact)?;
            Some(PaperFact {
                subject: *subject,
                relation,
                object,
                time: 0,
                passage,
            })
        })
        .collect();
    Collection {
        layout: plan.layout,
        passages,
        facts,
    }
}

impl Writer<'_> {
    fn section(&mut self, &(paper, heading, fact): &Section) -> String {
        let s = self.s;
        let authors = self.authors[paper as usize].clone();
        let mut parts = Vec::new();
        match (heading, fact) {
            ("Abstract", fact) => {
                let measure = match fact {
                    Some((Relation::Measure, m)) => m as usize,
                    _ => 0,
                };
                parts.push(
                    self.draw(s.abstracts)
                        .replace("{m}", self.topic.measures[measure]),
                );
            }
            ("Results", Some((Relation::Direction, up))) => {
                let more = if up == 1 { "higher" } else { "lower" };
                let outcome = "the outcome named in the abstract";
                parts.push(
                    self.draw(s.results)
                        .replace("{more}", more)
                        .replace("{m}", outcome),
                );
            }
            ("Discussion", _) => parts.push(self.draw(s.discussion).to_string()),
            (_, Some((Relation::Group, g))) => {
                parts.push(self.draw(s.groups).replace("{g}", self.groups[g as usize]));
            }
            (_, Some((relation, number))) => {
                if relation == Relation::Base && heading == "Methods" {
                    let g = self.rng.below(self.groups.len());
                    parts.push(self.draw(s.groups).replace("{g}", self.groups[g]));
                }
                let list = match relation {
                    Relation::Base if heading == "Methods" => s.enrolled,
                    Relation::Base => s.audit,
                    Relation::Cut if heading == "Results" => s.excluded,
                    Relation::Cut => s.review,
                    Relation::LaterCut if heading == "Later withdrawals" => s.withdrawn,
                    Relation::LaterCut => s.data_note,
                    Relation::Reversed if number == 1 => s.reversed,
                    Relation::Protocol => s.protocol,
                    Relation::Repeats => s.repeats,
                    _ => s.harmless,
                };
                let k = protocol(number);
                parts.push(
                    self.draw(list)
                        .replace("{n}", &number.to_string())
                        .replace("{k}", &k),
                );
            }
            (_, None) => parts.push(self.draw(s.harmless).to_string()),
        }
        let text = parts
            .join(" ")
            .replace("{P}", &authors)
            .replace("{i}", self.topic.intervention);
        format!(
            "{}: {authors} ({}). {heading}\n\n{text}",
            label(self.layout, paper),
            self.years[paper as usize]
        )
    }

    fn draw(&mut self, list: &'static [&'static str]) -> &'static str {
        let fresh: Vec<&'static str> = list
            .iter()
            .copied()
            .filter(|s| !self.last.contains(s))
            .collect();
        let sentence = *self.rng.choose(&fresh);
        self.last.retain(|s| !list.contains(s));
        self.last.push(sentence);
        sentence
    }
}

impl Collection {
    /// What guessers see: options of which each names papers.
    pub fn view<'a>(
        &'a self,
        question: &'a str,
        options: Vec<Vec<u32>>,
        shown: Vec<String>,
    ) -> View<'a> {
        let phrases = options
            .iter()
            .map(|papers| papers.iter().map(|&p| label(self.layout, p)).collect())
            .collect();
        View {
            passages: self.passages.iter().map(String::as_str).collect(),
            subject: "",
            question,
            options: phrases,
            shown,
        }
    }
}
