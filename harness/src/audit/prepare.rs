//! From a model to the probes of its audit and the edits that services may make of them.

use fathom_engine::Model;

use crate::audit::counts::counts;
use crate::audit::hypothesis::{self, Edit, Hypothesis};
use crate::audit::observe::Bytes;
use crate::audit::probe::{Kind, Probe, ask, unfinished};
use crate::audit::prompt::PromptEdit;
use crate::audit::sampled::draw;
use crate::audit::table::{Answers, Making, Shape, Table};
use crate::opened::Opened;
use crate::rng::Rng;
use crate::{Error, Result};

/// Which probes are made.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How they are put.
    pub shape: Shape,
    /// Whether log probabilities of the prompts are predicted.
    pub scored: bool,
    /// Whether answers are sampled, to texts that go on, in place of questions that are answered without.
    pub sampled: bool,
    /// Probes of the length that every fault needs.
    pub probes: usize,
    /// Their length in tokens; without one, what the faults need.
    pub length: Option<usize>,
    /// Tokens that a prompt may have.
    pub most: usize,
    /// Seed of the texts.
    pub seed: u64,
}

/// What an audit asks, with all that is needed to weigh what comes.
#[derive(Debug)]
pub struct Prepared {
    /// The probes, and what every hypothesis predicts of them.
    pub table: Table,
    /// What each hypothesis does.
    pub edits: Vec<Edit>,
    /// Share of improbable tokens in answers that the reference itself gives, where they are sampled.
    pub rare: f64,
}

/// No probe is shorter, nor has to be much longer where nothing depends on length.
const SHORT: usize = 384;
/// Long probes that the reference itself answers, where answers are sampled.
const DRAWN: usize = 4;
/// What a user asks for whose text goes on.
const GO_ON: &str = "Go on with this text.";
/// A system message as services put it before a conversation.
const SYSTEM: &str = "You are a helpful assistant.";

/// The table of an opened model, and other checkpoints that may be in its place.
///
/// # Errors
/// When the tokenizer or the template fails, or nothing fits.
pub fn table(
    opened: &Opened,
    suspects: Vec<(String, Model)>,
    wanted: Wanted,
    making: &Making<'_>,
) -> Result<Prepared> {
    let ids = |text: &str| match wanted.shape {
        Shape::Raw => opened.raw(text),
        Shape::Chat => opened.chat(text),
    };
    let empty = ids("")?;
    let bos = opened
        .tokenizer
        .bos()
        .filter(|bos| empty.first() == Some(bos));
    let mut catalogue = hypothesis::faults(&opened.model);
    let longest = wanted.length.unwrap_or_else(|| length(&catalogue));
    let longest = longest.min(wanted.most.saturating_sub(empty.len() + 32));
    let mut probes = Vec::new();
    let mut lengths = vec![longest; wanted.probes];
    // Where most faults show early, a few short texts are cheap.
    if longest > 2 * SHORT {
        lengths.extend([SHORT; 3]);
    }
    for (i, tokens) in lengths.into_iter().enumerate() {
        let kind = if i % 3 == 2 {
            Kind::Story
        } else {
            Kind::Recall
        };
        let (index, tokenizer) = (i as u64, &opened.tokenizer);
        let text = match (wanted.sampled, wanted.shape) {
            (false, _) => ask(kind, tokens, wanted.seed, index, tokenizer)?.text,
            (true, Shape::Raw) => unfinished(kind, tokens, wanted.seed, index, tokenizer)?,
            (true, Shape::Chat) => {
                let text = unfinished(kind, tokens, wanted.seed, index, tokenizer)?;
                format!("{text}\n\n{GO_ON}")
            }
        };
        let ids = ids(&text)?;
        if ids.len() > wanted.most {
            let expected = format!("prompts of {} tokens and more", ids.len());
            return Err(Error::input("audit", "context", wanted.most, expected));
        }
        let same = |(a, b): &(&u32, &u32)| a == b;
        let before = empty.iter().zip(&ids).take_while(same).count();
        let after = empty[before..]
            .iter()
            .rev()
            .zip(ids.iter().rev())
            .take_while(same)
            .count();
        probes.push(Probe {
            name: format!("{}-{i}", kind.name()),
            text,
            body: before..ids.len() - after,
            ids,
            ..Probe::default()
        });
    }
    let lengths: Vec<usize> = probes.iter().map(|p| p.ids.len()).collect();
    let (system, templates) = match wanted.shape {
        Shape::Raw => (None, Vec::new()),
        Shape::Chat => (system_message(opened)?, templates(opened, &probes)?),
    };
    let mut edits = PromptEdit::all(bos, system, &lengths);
    edits.extend(templates);
    // What changes no prompt is no hypothesis.
    edits.retain(|edit| {
        let mut probes = probes.iter();
        probes.any(|p| edit.apply(&p.ids, p.body.clone()).is_some())
    });
    let edits = edits.into_iter();
    catalogue.extend(edits.map(|edit| (Hypothesis::of_prompt(&edit), Edit::Prompt(edit))));
    catalogue.extend(hypothesis::suspects(&opened.model, suspects)?);
    let (mut tokens, mut rare) = (0, 0);
    // What the others bring is known from these.
    let drawn = |i: &usize| wanted.sampled && (*i < DRAWN || *i >= wanted.probes);
    for (i, probe) in probes.iter_mut().enumerate().filter(|(i, _)| drawn(i)) {
        let seed = Rng::of(wanted.seed, "answers", i as u64, "reference").bits();
        let drawn = draw(making, &opened.tokenizer, &opened.stop, seed, probe)?;
        (tokens, rare) = (tokens + drawn.0, rare + drawn.1);
    }
    let edits = catalogue.iter().map(|(_, edit)| edit.clone()).collect();
    let ends = &opened.stop[..];
    let answers = match wanted.sampled {
        true => Answers::Drawn,
        false => Answers::Likeliest { ends },
    };
    let mut table = making.table(wanted.shape, wanted.scored, catalogue, probes, answers)?;
    table.counts = counts(opened)?;
    Ok(Prepared {
        table,
        edits,
        rare: (rare + 1) as f64 / (tokens + 1) as f64,
    })
}

/// Tokens that every fault of the model's own has room to show in.
fn length(catalogue: &[(Hypothesis, Edit)]) -> usize {
    let firsts = catalogue
        .iter()
        .map(|(h, _)| h.first)
        .filter(|f| *f != usize::MAX);
    let first = firsts.max().unwrap_or(0);
    (first + first / 2 + 256).max(SHORT)
}

/// What a usual system message adds to a conversation, and where; nothing where the template has no place for it, or puts
/// one there itself.
fn system_message(opened: &Opened) -> Result<Option<(usize, Vec<u32>)>> {
    use fathom_engine::chat::Message;
    let render = |messages| opened.conversation(messages, true, &serde_json::Map::new());
    let user = || Message::new("user", "x");
    let plain = render(vec![user()])?;
    let Ok(with) = render(vec![Message::new("system", SYSTEM), user()]) else {
        return Ok(None);
    };
    let at = plain.iter().zip(&with).take_while(|(a, b)| a == b).count();
    let more = with.len().saturating_sub(plain.len());
    let inserted = with.get(at..at + more).unwrap_or_default().to_vec();
    let same = with.get(at + more..) == plain.get(at..);
    Ok((same && more > 0).then_some((at, inserted)))
}

/// Templates that services put in the place of the model's own: none at all, that of others, the own one without the turn of
/// the assistant.
fn templates(opened: &Opened, probes: &[Probe]) -> Result<Vec<PromptEdit>> {
    let turn = |own: bool| {
        let message = vec![fathom_engine::chat::Message::new("user", "")];
        opened.conversation(message, own, &serde_json::Map::new())
    };
    // BOS as the tokenizer adds it to any text.
    let bos = opened.tokenizer.bos();
    let bos = bos.filter(|_| opened.tokenizer.add_bos());
    let rendered = |text: &str| -> Result<Vec<u32>> {
        let ids = opened.tokenizer.encode_special(text)?;
        Ok(bos.into_iter().chain(ids).collect())
    };
    let mut all = Vec::new();
    for (name, before, after) in [
        ("none", "", ""),
        (
            "chatml",
            "<|im_start|>user\n",
            "<|im_end|>\n<|im_start|>assistant\n",
        ),
        ("llama2", "[INST] ", " [/INST]"),
        (
            "llama3",
            "<|start_header_id|>user<|end_header_id|>\n\n",
            "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
    ] {
        let prompts = probes.iter().map(|p| {
            let other = rendered(&format!("{before}{}{after}", p.text))?;
            Ok((p.ids.clone(), other))
        });
        all.push(PromptEdit::Template {
            name,
            prompts: prompts.collect::<Result<_>>()?,
        });
    }
    // Of the text nothing is there, so that what is left stands around it.
    let (whole, open) = (turn(true)?, turn(false).unwrap_or_default());
    let last = whole.strip_prefix(&open[..]).filter(|t| !t.is_empty());
    if let (Some(last), false) = (last, open.is_empty()) {
        all.push(PromptEdit::NoTurn(last.to_vec()));
    }
    Ok(all)
}

/// Bytes of all tokens that a table looks at, and of the prompts': a service that echoes fewer of them is understood.
pub fn bytes(opened: &Opened, table: &Table) -> Bytes {
    let ids = table
        .probes
        .iter()
        .flat_map(|p| p.tail.iter().flatten().chain(&p.ids));
    ids.map(|id| (*id, opened.tokenizer.decode_bytes(&[*id])))
        .collect()
}
