//! From items to answers: what has no answer yet is evaluated in the order of the file, short to long.

use std::collections::HashSet;

use crate::backend::{Backend, End, Event, Generate, Outcome, Reply, Request};
use crate::item::{Context, Scorer};
use crate::memory::show_bytes;
use crate::record::{Answer, ItemRecord, Status};
use crate::run::folder::{ANSWERS, ITEMS, Lines};
use crate::run::journal::Journal;
use crate::run::place::WorkFolder;
use crate::run::progress::Progress;
use crate::run::speed::SpeedLog;
use crate::run::think;
use crate::stop::Stop;
use crate::{Error, Result, score};

/// How answers are asked for; the same for every item.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Text is generated also where options are scored.
    pub generate_beside_options: bool,
    /// 0 is greedy.
    pub temperature: f32,
    /// Share of the probability that is sampled from.
    pub top_p: f32,
    /// Seed of the run; every item has its own from it.
    pub seed: u64,
    /// Tokens that a thought may have.
    pub thought_budget: usize,
    /// An answer ends with its first line.
    pub one_line: bool,
    /// Bytes of memory that may be used.
    pub memory: u64,
    /// Answers that are decoded together at most.
    pub batch: usize,
    /// Lengths whose speed is measured; ascending.
    pub speed_at: Vec<usize>,
}

impl Settings {
    /// What is wanted of an item.
    pub fn request(&self, record: &ItemRecord) -> Request {
        let text = self.generate_beside_options || record.options.is_empty();
        let generate = text.then(|| Generate {
            max_tokens: record.question.max_tokens,
            thought_budget: self.thought_budget,
            thinking: think::opens(&record.prompt.text),
            one_line: self.one_line && !matches!(record.question.scorer, Scorer::Arc { .. }),
            temperature: self.temperature,
            top_p: self.top_p,
            seed: self.seed_of(&record.item.id),
        });
        Request {
            ids: record.prompt.ids.clone(),
            text: record.prompt.text.clone(),
            prompt_tokens: record.prompt.tokens(),
            generate,
            options: record.options.clone(),
        }
    }

    /// Tokens that an item has at its end, at most.
    pub fn tokens(&self, record: &ItemRecord) -> usize {
        let options = record
            .options
            .iter()
            .map(|o| o.ids.len())
            .max()
            .unwrap_or(0);
        record.prompt.tokens() + self.answer_tokens(record).max(options)
    }

    /// Requests that an item becomes at an API, each with the whole prompt: one for its text, one an option.
    pub fn requests(&self, record: &ItemRecord) -> usize {
        let text = self.generate_beside_options || record.options.is_empty();
        usize::from(text) + record.options.len()
    }

    /// Tokens that are generated for an item at most.
    pub fn answer_tokens(&self, record: &ItemRecord) -> usize {
        if !self.generate_beside_options && !record.options.is_empty() {
            return 0;
        }
        let thought = if think::opens(&record.prompt.text) {
            self.thought_budget
        } else {
            0
        };
        record.question.max_tokens + thought
    }

    fn seed_of(&self, item: &str) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&self.seed.to_le_bytes())
            .update(item.as_bytes());
        let hash = hasher.finalize();
        hash.as_bytes()[..8]
            .iter()
            .fold(0, |seed, b| seed << 8 | u64::from(*b))
    }
}

/// Estimated seconds of an item.
pub fn seconds_of(backend: &dyn Backend, settings: &Settings, record: &ItemRecord) -> f64 {
    let prompt = record.prompt.tokens();
    if backend.terms().is_some() {
        let answer = settings.answer_tokens(record);
        return backend.seconds(0, prompt, answer) * settings.requests(record) as f64;
    }
    let options: usize = record.options.iter().map(|o| o.ids.len()).sum();
    backend.seconds(0, prompt, settings.answer_tokens(record)) + backend.seconds(prompt, options, 0)
}

/// Evaluates every item of the folder that has no answer, and measures the speed at every length on the way.
///
/// # Errors
/// When the backend or the disk fails, or somebody asked to stop. Answers on record stay.
pub fn execute(
    folder: &WorkFolder,
    backend: &mut dyn Backend,
    settings: &Settings,
    stop: &Stop,
    show_progress: bool,
) -> Result<()> {
    let answers = folder.dir().join(ANSWERS);
    let mut journal = Journal::open(&answers)?;
    let mut open = HashSet::new();
    let mut work = 0.0;
    let done: HashSet<String> = Lines::<Answer>::open(&answers)?
        .map(|a| Ok(a?.item))
        .collect::<Result<_>>()?;
    for record in Lines::<ItemRecord>::open(&folder.dir().join(ITEMS))? {
        let record = record?;
        if !done.contains(&record.item.id) {
            work += seconds_of(backend, settings, &record);
            if !open.insert(record.item.id.clone()) {
                let path = folder.dir().join(ITEMS);
                return Err(Error::input(
                    path.display(),
                    "id",
                    record.item.id,
                    "one item only",
                ));
            }
        }
    }
    let mut speed = SpeedLog::open(folder.dir(), &settings.speed_at)?;
    work += speed.open_seconds(backend);
    let mut progress = if show_progress {
        Progress::new(open.len(), work)
    } else {
        Progress::silent()
    };

    let result = (|| {
        let mut batch = Batch::default();
        for record in Lines::<ItemRecord>::open(&folder.dir().join(ITEMS))? {
            let record = record?;
            if !open.contains(&record.item.id) {
                continue;
            }
            if let Some(reason) = unfit(backend, settings, &record) {
                journal.append(&skipped(&record, reason))?;
                progress.worked(0, seconds_of(backend, settings, &record));
                progress.item();
                continue;
            }
            if !batch.takes(backend, settings, &record) {
                batch.run(backend, settings, &mut journal, &mut progress, stop)?;
            }
            if batch.records.is_empty() {
                let length = record.prompt.tokens();
                speed.measure_up_to(length, backend, settings.memory, &mut progress, stop)?;
            }
            batch.records.push(record);
        }
        batch.run(backend, settings, &mut journal, &mut progress, stop)?;
        speed.measure_up_to(usize::MAX, backend, settings.memory, &mut progress, stop)
    })();
    progress.end();
    result
}

/// Why an item cannot be sent, if it cannot.
fn unfit(backend: &dyn Backend, settings: &Settings, record: &ItemRecord) -> Option<String> {
    if !record.skip.is_empty() {
        return Some(record.skip.clone());
    }
    lacks(backend, settings.memory, settings.tokens(record))
}

/// What a sequence of so many tokens needs, where that is more than there is.
pub fn lacks(backend: &dyn Backend, memory: u64, tokens: usize) -> Option<String> {
    let needed = backend.bytes_needed(tokens);
    (needed > memory).then(|| {
        format!(
            "needs {}, {} available",
            show_bytes(needed),
            show_bytes(memory)
        )
    })
}

fn skipped(record: &ItemRecord, reason: String) -> Answer {
    answer(record, Status::Skipped, reason, Reply::default())
}

/// Items that are handed to the backend together.
#[derive(Default)]
struct Batch {
    records: Vec<ItemRecord>,
}

impl Batch {
    /// Items of one group belong together; others share a batch at one length, as far as the memory goes. A backend that
    /// takes all is handed as many as that.
    fn takes(&self, backend: &dyn Backend, settings: &Settings, record: &ItemRecord) -> bool {
        let Some(first) = self.records.first() else {
            return true;
        };
        if let Some(n) = backend.together() {
            return self.records.len() < n;
        }
        let all = backend.takes_all();
        if !(all || first.group.is_empty() && record.group.is_empty()) {
            return first.group == record.group;
        }
        let others = self.records.iter().map(|r| settings.tokens(r));
        let others: u64 = others.map(|n| backend.bytes_per_sequence(n)).sum();
        let needed = backend.bytes_needed(settings.tokens(record)) + others;
        let alike =
            first.item.context == record.item.context && self.records.len() < settings.batch;
        (all || alike) && needed <= settings.memory
    }

    fn run(
        &mut self,
        backend: &mut dyn Backend,
        settings: &Settings,
        journal: &mut Journal,
        progress: &mut Progress,
        stop: &Stop,
    ) -> Result<()> {
        let records = std::mem::take(&mut self.records);
        let Some(first) = records.first() else {
            return Ok(());
        };
        progress.on(match first.item.context {
            _ if backend.together().is_some() => format!("{} items side by side", records.len()),
            _ if backend.takes_all() => format!("{} items, layer by layer", records.len()),
            Context::Length(n) => format!("{n} tokens"),
            Context::Short => "the short control".to_owned(),
            Context::None => "the control without context".to_owned(),
        });
        let requests: Vec<_> = records.iter().map(|r| settings.request(r)).collect();
        let work: Vec<_> = records
            .iter()
            .map(|r| seconds_of(backend, settings, r))
            .collect();
        let tokens: usize = records.iter().map(|r| settings.tokens(r)).sum();
        let per_token = work.iter().sum::<f64>() / tokens.max(1) as f64;
        let mut told = 0.0;
        let mut open = records.len();
        backend
            .evaluate(&requests, &mut |event| {
                stop.check()?;
                match event {
                    Event::Prefilled(n) | Event::Decoded(n) => {
                        told += per_token * n as f64;
                        progress.worked(n, per_token * n as f64);
                    }
                    Event::Done(i, outcome) => {
                        let record = records.get(i).ok_or_else(|| {
                            Error::Unfinished(format!(
                                "an answer to request {i}, which nobody made"
                            ))
                        })?;
                        journal.append(&ended(record, outcome))?;
                        open -= 1;
                        progress.item();
                    }
                }
                Ok(())
            })
            .map_err(Error::at_work)?;
        // An answer that ended early, or a shared beginning, was less work than foreseen.
        progress.worked(0, work.iter().sum::<f64>() - told);
        if open == 0 {
            Ok(())
        } else {
            Err(Error::Unfinished(format!(
                "{open} of {} requests have no answer",
                records.len()
            )))
        }
    }
}

fn ended(record: &ItemRecord, outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Refused(reason) => answer(record, Status::Refused, reason, Reply::default()),
        Outcome::Failed(reason) => answer(record, Status::Failed, reason, Reply::default()),
        Outcome::Skipped(reason) => skipped(record, reason),
        Outcome::Reply(reply) => {
            let (status, reason) = match reply.end {
                None | Some(End::Stop) => (Status::Scored, String::new()),
                Some(End::Limit) if says_all(record, &reply) => (Status::Scored, String::new()),
                Some(End::Limit) => (
                    Status::Truncated,
                    format!("met its limit of {} tokens", record.question.max_tokens),
                ),
                Some(End::ThoughtLimit) => (
                    Status::Truncated,
                    format!("the thought met its budget of {} tokens", reply.ids.len()),
                ),
            };
            answer(record, status, reason, reply)
        }
    }
}

/// Whether an answer that was cut can be judged all the same: what was asked for stands in it, and more text could
/// not change that.
fn says_all(record: &ItemRecord, reply: &Reply) -> bool {
    let scorer = &record.question.scorer;
    let found = matches!(
        scorer,
        Scorer::ContainsAll { .. } | Scorer::ContainsAny { .. }
    );
    found && score::judge(scorer, &think::split(&record.prompt.text, reply).1).score >= 1.0
}

fn answer(record: &ItemRecord, status: Status, reason: String, reply: Reply) -> Answer {
    let (thought, text) = think::split(&record.prompt.text, &reply);
    Answer {
        item: record.item.id.clone(),
        status,
        reason,
        text,
        thought,
        ids: reply.ids,
        logprobs: reply.logprobs,
        options: reply.options,
        prompt_tokens: record.prompt.tokens(),
        prefill_s: reply.prefill_s,
        decode_s: reply.decode_s,
        logits_hash: reply.logits_hash,
        usage: reply.usage,
    }
}
