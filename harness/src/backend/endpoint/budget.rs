//! What a run at an API may cost: nothing is sent that could cost more.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::endpoint::Usage;

/// Money for a million tokens, in whatever currency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Of prompts.
    pub input: f64,
    /// Of answers.
    pub output: f64,
}

/// Tokens that are billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of prompts.
    pub prompt: u64,
    /// Of answers.
    pub answer: u64,
}

impl Tokens {
    /// Of a prompt and its answer.
    pub fn new(prompt: usize, answer: usize) -> Self {
        Self {
            prompt: prompt as u64,
            answer: answer as u64,
        }
    }

    /// Both together.
    pub fn all(self) -> u64 {
        self.prompt.saturating_add(self.answer)
    }

    /// The sum.
    pub fn and(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.saturating_add(other.prompt),
            answer: self.answer.saturating_add(other.answer),
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.saturating_sub(other.prompt),
            answer: self.answer.saturating_sub(other.answer),
        }
    }
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        Self {
            prompt: usage.prompt_tokens,
            answer: usage.completion_tokens,
        }
    }
}

/// What tokens cost, and what all of a run may.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// The price, where it is known.
    pub price: Option<Price>,
    /// Tokens of prompts and answers together, at most.
    pub tokens: Option<u64>,
    /// Money, at most.
    pub money: Option<f64>,
}

impl Terms {
    /// What tokens cost; `None` where nobody named a price.
    ///
    /// ```
    /// use fathom_harness::backend::endpoint::budget::{Price, Terms, Tokens};
    /// let price = Some(Price { input: 2.0, output: 8.0 });
    /// let terms = Terms { price, ..Terms::default() };
    /// assert_eq!(terms.money(Tokens::new(500_000, 1000)), Some(1.008));
    /// ```
    pub fn money(&self, tokens: Tokens) -> Option<f64> {
        let price = self.price?;
        let of = |tokens: u64, price: f64| tokens as f64 * price / 1e6;
        Some(of(tokens.prompt, price.input) + of(tokens.answer, price.output))
    }

    /// Whether so many tokens may be spent.
    pub fn allow(&self, tokens: Tokens) -> bool {
        let dear = match (self.money, self.money(tokens)) {
            (Some(most), Some(money)) => money > most,
            _ => false,
        };
        !dear && self.tokens.is_none_or(|most| tokens.all() <= most)
    }

    /// Whether anything is limited.
    pub fn limited(&self) -> bool {
        self.tokens.is_some() || self.money.is_some()
    }

    /// The limits: `1000000 tokens and 2.50`.
    pub fn in_words(&self) -> String {
        let tokens = self.tokens.map(|n| format!("{n} tokens"));
        let money = self.money.map(|m| format!("{m:.2} of money"));
        let both: Vec<String> = tokens.into_iter().chain(money).collect();
        match both.is_empty() {
            true => "none".to_owned(),
            false => both.join(" and "),
        }
    }
}

/// Whether something may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Yes; these are held until it is known what they were.
    Granted(Tokens),
    /// When something that is under way has cost less than it could have.
    Later,
    /// No, and nothing after it.
    Never,
}

/// A budget as it is spent.
#[derive(Debug)]
pub struct Purse {
    terms: Terms,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    spent: Tokens,
    held: Tokens,
    /// Tokens that a prompt was billed for each that was foreseen, at most.
    factor: f64,
    closed: bool,
}

impl Purse {
    /// A budget of which so much is spent.
    pub fn new(terms: Terms, spent: Tokens) -> Self {
        let state = State {
            spent,
            held: Tokens::default(),
            factor: 1.0,
            closed: false,
        };
        Self {
            terms,
            state: Mutex::new(state),
        }
    }

    /// The terms.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What is spent.
    pub fn spent(&self) -> Tokens {
        self.state().spent
    }

    /// Something was spent that nobody asked leave for.
    pub fn spend(&self, tokens: Tokens) {
        let mut state = self.state();
        state.spent = state.spent.and(tokens);
    }

    /// Asks for leave to send an item: a prompt of so many tokens that is answered by so many at most. The first that there
    /// is no room for closes the purse, so that what is not run is the end of a run and not its long items.
    pub fn ask(&self, foreseen: Tokens) -> Leave {
        match self.hold(foreseen) {
            Some(held) => Leave::Granted(held),
            None => {
                let mut state = self.state();
                if !state.closed && state.held != Tokens::default() {
                    return Leave::Later;
                }
                state.closed = true;
                Leave::Never
            }
        }
    }

    /// Holds so many tokens, if there is room; what nobody must have.
    pub fn hold(&self, foreseen: Tokens) -> Option<Tokens> {
        let mut state = self.state();
        let wanted = Tokens {
            prompt: (foreseen.prompt as f64 * state.factor).ceil() as u64,
            ..foreseen
        };
        let all = state.spent.and(state.held).and(wanted);
        let granted = !state.closed && self.terms.allow(all);
        granted.then(|| {
            state.held = state.held.and(wanted);
            wanted
        })
    }

    /// What was held for `foreseen` has become this.
    pub fn settle(&self, foreseen: Tokens, held: Tokens, spent: Tokens) {
        let mut state = self.state();
        state.held = state.held.without(held);
        state.spent = state.spent.and(spent);
        let factor = spent.prompt as f64 / foreseen.prompt.max(1) as f64;
        state.factor = state.factor.max(factor);
    }

    /// Why something is not sent.
    pub fn reason(&self) -> String {
        format!("not run: budget of {}", self.terms.in_words())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_cost_too_much_waits_and_then_is_not_sent() {
        let terms = Terms {
            tokens: Some(100),
            ..Terms::default()
        };
        let purse = Purse::new(terms, Tokens::new(10, 0));
        let foreseen = Tokens::new(40, 10);
        assert_eq!(purse.ask(foreseen), Leave::Granted(foreseen));
        assert_eq!(purse.ask(foreseen), Leave::Later);
        assert_eq!(purse.hold(Tokens::new(50, 0)), None);
        purse.settle(foreseen, foreseen, Tokens::new(40, 2));
        // 52 are spent.
        assert_eq!(purse.ask(Tokens::new(40, 9)), Leave::Never);
        assert_eq!(purse.ask(Tokens::new(1, 1)), Leave::Never);
        assert_eq!(purse.spent(), Tokens::new(50, 2));
        assert_eq!(purse.reason(), "not run: budget of 100 tokens");
    }

    #[test]
    fn prompts_that_were_billed_more_than_foreseen_are_foreseen_so() {
        let terms = Terms {
            money: Some(1.0),
            price: Some(Price {
                input: 1e4,
                output: 1e4,
            }),
            ..Terms::default()
        };
        let purse = Purse::new(terms, Tokens::default());
        let foreseen = Tokens::new(20, 5);
        assert_eq!(purse.ask(foreseen), Leave::Granted(foreseen));
        purse.settle(foreseen, foreseen, Tokens::new(30, 5));
        assert_eq!(purse.ask(foreseen), Leave::Granted(Tokens::new(30, 5)));
        assert_eq!(purse.ask(foreseen), Leave::Later);
    }
}
