//! Keys and values of needles: two words, seven digits, or a UUID, as in RULER's `niah.py`.

use std::collections::HashSet;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::item::Magic;
use crate::rng::Rng;

/// Which two-word keys may be drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    /// Every adjective with every noun.
    #[default]
    All,
    /// Those that the built-in model never saw in its training: [`held_out`].
    Heldout,
}

static WORDS: LazyLock<(Vec<&str>, Vec<&str>)> = LazyLock::new(|| {
    let mut lines = include_str!("magic_words.txt")
        .lines()
        .filter(|l| !l.starts_with('#'));
    let mut words = || lines.next().unwrap_or("").split(' ').collect();
    (words(), words())
});

/// Whether the built-in model's training leaves a key out: its FNV-1a hash (64 bits) is divisible by 10.
pub fn held_out(key: &str) -> bool {
    fnv(key).is_multiple_of(10)
}

fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(14_695_981_039_346_656_037, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
        })
}

/// Which half of all keys one is in: questions ask for keys of one half, endless needles have keys of the other, so that
/// no filler answers a question.
fn asked_half(key: &str) -> bool {
    blake3::hash(key.as_bytes()).as_bytes()[0] & 1 == 0
}

/// Draws keys and values.
#[derive(Debug)]
pub struct Maker {
    rng: Rng,
    keys: Keys,
    asked: bool,
    used: HashSet<String>,
}

impl Maker {
    /// Of a stream of random numbers; with `asked`, keys that may be asked for, and never the same key or value twice.
    pub fn new(rng: Rng, keys: Keys, asked: bool) -> Self {
        Self {
            rng,
            keys,
            asked,
            used: HashSet::new(),
        }
    }

    /// A key.
    pub fn key(&mut self, kind: Magic) -> String {
        loop {
            let key = self.draw(kind);
            let allowed = kind != Magic::Word || self.keys == Keys::All || held_out(&key);
            if allowed && asked_half(&key) == self.asked && self.unused(&key) {
                return key;
            }
        }
    }

    /// A value.
    pub fn value(&mut self, kind: Magic) -> String {
        loop {
            let value = self.draw(kind);
            if self.unused(&value) {
                return value;
            }
        }
    }

    fn unused(&mut self, word: &str) -> bool {
        !self.asked || self.used.insert(word.to_owned())
    }

    fn draw(&mut self, kind: Magic) -> String {
        match kind {
            Magic::Word => format!(
                "{} {}",
                self.rng.choose(&WORDS.0),
                self.rng.choose(&WORDS.1)
            ),
            Magic::Number => (1_000_000 + self.rng.below(9_000_000)).to_string(),
            Magic::Uuid => {
                let version = (self.rng.bits() & !0xf000) | 0x4000;
                let variant = (self.rng.bits() >> 2) | (1 << 63);
                let hex = format!("{version:016x}{variant:016x}");
                format!(
                    "{}-{}-{}-{}-{}",
                    &hex[..8],
                    &hex[8..12],
                    &hex[12..16],
                    &hex[16..20],
                    &hex[20..]
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_look_as_they_should() {
        let mut maker = Maker::new(Rng::new(1), Keys::All, true);
        for _ in 0..200 {
            let number = maker.value(Magic::Number);
            assert!(
                number.len() == 7
                    && number.bytes().all(|b| b.is_ascii_digit())
                    && !number.starts_with('0')
            );
            let uuid = maker.value(Magic::Uuid);
            assert_eq!(
                uuid.split('-').map(str::len).collect::<Vec<_>>(),
                [8, 4, 4, 4, 12]
            );
            assert_eq!(&uuid[14..15], "4");
            assert!("89ab".contains(&uuid[19..20]), "{uuid}");
            assert_eq!(maker.key(Magic::Word).split(' ').count(), 2);
        }
    }

    #[test]
    fn held_out_keys_are_a_tenth_and_nothing_else_is_drawn() {
        let all = WORDS.0.len() * WORDS.1.len();
        let held = WORDS
            .0
            .iter()
            .flat_map(|a| WORDS.1.iter().map(move |n| format!("{a} {n}")))
            .filter(|k| held_out(k));
        assert!((held.count() as f64 / all as f64 - 0.1).abs() < 0.01);
        assert!(held_out("able angle") && !held_out("able actor"));
        let mut maker = Maker::new(Rng::new(2), Keys::Heldout, true);
        assert!((0..500).all(|_| held_out(&maker.key(Magic::Word))));
    }

    #[test]
    fn filler_never_has_a_key_that_is_asked_for() {
        let mut asked = Maker::new(Rng::new(3), Keys::Heldout, true);
        let mut filler = Maker::new(Rng::new(4), Keys::All, false);
        let asked: HashSet<String> = (0..1000).map(|_| asked.key(Magic::Word)).collect();
        assert_eq!(asked.len(), 1000);
        assert!((0..20_000).all(|_| !asked.contains(&filler.key(Magic::Word))));
    }

    #[test]
    fn held_out_keys_are_those_of_the_model_that_comes_with_it() {
        let list = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../datasets/builtin/heldout_keys.txt");
        let Ok(list) = std::fs::read_to_string(list) else {
            return;
        };
        let listed: HashSet<String> = list
            .lines()
            .filter(|l| !l.is_empty())
            .map(str::to_owned)
            .collect();
        let all = WORDS
            .0
            .iter()
            .flat_map(|a| WORDS.1.iter().map(move |n| format!("{a} {n}")));
        assert_eq!(all.filter(|k| held_out(k)).collect::<HashSet<_>>(), listed);
    }
}
