//! What a run will cost, before anything is run.

use std::collections::BTreeMap;

use crate::backend::Backend;
use crate::backend::endpoint::budget::Tokens;
use crate::item::Context;
use crate::record::ItemRecord;
use crate::run::execute::Settings;

/// The cost of the items of one context.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// Items.
    pub items: usize,
    /// Tokens of their prompts that are evaluated; shared beginnings count once.
    pub prompt_tokens: usize,
    /// Tokens generated at most.
    pub answer_tokens: usize,
    /// Seconds.
    pub seconds: f64,
    /// Memory of the largest.
    pub bytes: u64,
    /// Items that do not fit in memory.
    pub skipped: usize,
    /// Longer than the model declares.
    pub beyond: bool,
    /// Of all these, tokens that measuring the speed takes where somebody bills them.
    pub speed: Tokens,
}

/// Costs by context.
#[derive(Clone, Debug, Default)]
pub struct Estimate {
    /// By context, short to long.
    pub costs: BTreeMap<Context, Cost>,
    /// Tokens of a group that have been counted already.
    shared: BTreeMap<String, usize>,
}

/// Tokens of a question that leaves a shared document.
const BRANCH: usize = 96;

impl Cost {
    /// Tokens that are billed at most, where somebody bills them.
    pub fn billed(&self) -> Tokens {
        Tokens::new(self.prompt_tokens, self.answer_tokens).and(self.speed)
    }
}

impl Estimate {
    /// Adds an item whose prompt has so many tokens.
    pub fn add(
        &mut self,
        backend: &dyn Backend,
        settings: &Settings,
        record: &ItemRecord,
        n: usize,
    ) {
        let cost = self.costs.entry(record.item.context).or_default();
        let answer = settings.answer_tokens(record);
        let bytes = backend.bytes_needed(n + answer);
        let declared = backend.card().context_length;
        cost.items += 1;
        cost.bytes = cost.bytes.max(bytes);
        cost.beyond |= declared > 0 && n > declared;
        if bytes > settings.memory || !record.skip.is_empty() {
            cost.skipped += 1;
            return;
        }
        cost.answer_tokens += answer;
        if backend.terms().is_some() {
            let requests = settings.requests(record);
            cost.prompt_tokens += n * requests;
            cost.seconds += backend.seconds(0, n, answer) * requests as f64;
            return;
        }
        if record.group.is_empty() {
            cost.prompt_tokens += n;
            cost.seconds += backend.seconds(0, n, answer);
            return;
        }
        let counted = self.shared.entry(record.group.clone()).or_default();
        let new = n.saturating_sub(*counted).max(BRANCH.min(n));
        cost.prompt_tokens += new;
        cost.seconds += backend.seconds(n - new, new, answer);
        *counted = (*counted).max(n);
    }

    /// Adds the measurement of the speed at a length.
    pub fn add_speed(&mut self, length: usize, seconds: f64, billed: Tokens) {
        let cost = self.costs.entry(Context::Length(length)).or_default();
        cost.seconds += seconds;
        cost.speed = cost.speed.and(billed);
    }

    /// Everything together.
    pub fn total(&self) -> Cost {
        self.costs.values().fold(Cost::default(), |sum, c| Cost {
            items: sum.items + c.items,
            prompt_tokens: sum.prompt_tokens + c.prompt_tokens,
            answer_tokens: sum.answer_tokens + c.answer_tokens,
            seconds: sum.seconds + c.seconds,
            bytes: sum.bytes.max(if c.skipped < c.items { c.bytes } else { 0 }),
            skipped: sum.skipped + c.skipped,
            beyond: sum.beyond || c.beyond,
            speed: sum.speed.and(c.speed),
        })
    }
}
