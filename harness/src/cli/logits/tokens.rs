//! A file of token sequences.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use serde_json::Value;

use crate::json::kind;
use crate::layout::Layout;
use crate::opened::Opened;
use crate::run::plan::Plan;
use crate::stop::Stop;
use crate::suite::{Length, Suite};

use crate::{Error, Result};

/// The sequences of a tokens file.
#[derive(Debug)]
pub struct Sequences {
    /// All ids, one sequence after the other.
    pub ids: Vec<u32>,
    /// Where each sequence begins, and the end; absent where the file is one flat array.
    pub offsets: Option<Vec<i64>>,
}

impl Sequences {
    /// Reads a JSON array of ids, or of arrays of them.
    pub fn read(path: &Path, n_vocab: usize) -> Result<Self> {
        let text = std::fs::read(path).map_err(|e| Error::read(path, e))?;
        let file = path.display().to_string();
        let expected = "a JSON array of token ids, or of arrays of them";
        let value: Value =
            serde_json::from_slice(&text).map_err(|e| Error::input(&file, "JSON", e, expected))?;
        let Value::Array(entries) = value else {
            return Err(Error::input(&file, "JSON", kind(&value), expected));
        };
        let mut all = Self {
            ids: Vec::new(),
            offsets: None,
        };
        if entries.iter().any(Value::is_array) {
            let mut offsets = vec![0];
            for (i, entry) in entries.iter().enumerate() {
                let Value::Array(ids) = entry else {
                    return Err(Error::input(
                        &file,
                        format!("[{i}]"),
                        kind(entry),
                        "an array, as the others",
                    ));
                };
                all.push(&file, &format!("[{i}]"), ids, n_vocab)?;
                offsets.push(all.ids.len() as i64);
            }
            all.offsets = Some(offsets);
        } else {
            all.push(&file, "", &entries, n_vocab)?;
        }
        if all.ids.is_empty() {
            return Err(Error::input(&file, "JSON", "no token", "at least one"));
        }
        Ok(all)
    }

    /// The prompts of suites, each once, as a run would send them; `lengths` in place of the suites' own where there are any.
    pub fn of_suites(
        opened: &Opened,
        names: &[String],
        lengths: &[usize],
        stop: &Stop,
    ) -> Result<Self> {
        let suites = names.iter().map(|name| {
            let mut suite = Suite::load(name)?;
            if !lengths.is_empty() {
                let sorted: BTreeSet<usize> = lengths.iter().copied().collect();
                suite.file.lengths = sorted.into_iter().map(Length).collect();
            }
            Ok(suite)
        });
        let suites = suites.collect::<Result<Vec<_>>>()?;
        let most = opened.model.spec.context_length;
        let plan = Plan::new(&suites, most)?;
        let mut layout = Layout::new(&*opened.tokenizer, opened.frame()?);
        let mut all = Self {
            ids: Vec::new(),
            offsets: None,
        };
        let (mut offsets, mut seen) = (vec![0], HashSet::new());
        let too_long = |n: usize| (n > most).then(|| format!("longer than {most} tokens"));
        plan.lay_out(&mut layout, &too_long, &mut |record| {
            stop.check()?;
            let ids = &record.prompt.ids;
            if !ids.is_empty() && seen.insert(ids.clone()) {
                all.ids.extend(ids);
                offsets.push(all.ids.len() as i64);
            }
            Ok(())
        })?;
        if all.ids.is_empty() {
            let names = names.join(" ");
            return Err(Error::Usage(format!("--suite {names}: no prompts")));
        }
        all.offsets = Some(offsets);
        Ok(all)
    }

    fn push(&mut self, file: &str, at: &str, ids: &[Value], n_vocab: usize) -> Result<()> {
        for (i, id) in ids.iter().enumerate() {
            let read = id.as_u64().filter(|id| *id < n_vocab as u64);
            let read = read.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
                let found = if id.is_number() {
                    id.to_string()
                } else {
                    kind(id).to_owned()
                };
                Error::input(
                    file,
                    format!("{at}[{i}]"),
                    found,
                    format!("a token id, 0 to {}", n_vocab - 1),
                )
            })?;
            self.ids.push(read);
        }
        Ok(())
    }

    /// The sequences.
    pub fn ranges(&self) -> Vec<std::ops::Range<usize>> {
        match &self.offsets {
            None => std::iter::once(0..self.ids.len()).collect(),
            Some(offsets) => offsets
                .windows(2)
                .map(|w| w[0] as usize..w[1] as usize)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Sequences, String> {
        let file = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
        std::fs::write(file.path(), text).map_err(|e| e.to_string())?;
        Sequences::read(file.path(), 100).map_err(|e| {
            e.to_string()
                .replace(&format!("{}: ", file.path().display()), "")
        })
    }

    #[test]
    fn arrays_of_ids_and_of_arrays_are_read() -> Result<(), String> {
        let flat = read("[1, 2, 99]")?;
        assert_eq!(
            (flat.ids.len(), flat.offsets.clone(), flat.ranges().len()),
            (3, None, 1)
        );
        let nested = read("[[1, 2], [], [3]]")?;
        assert_eq!(nested.offsets.as_deref(), Some(&[0, 2, 2, 3][..]));
        Ok(())
    }

    #[test]
    fn what_is_no_token_is_named() {
        for (text, message) in [
            ("[1, 100]", "[1]: found 100, expected a token id, 0 to 99"),
            (
                "[[1], [2, -3]]",
                "[1][1]: found -3, expected a token id, 0 to 99",
            ),
            ("[1.5]", "[0]: found 1.5, expected a token id, 0 to 99"),
            (
                "[\"a\"]",
                "[0]: found a string, expected a token id, 0 to 99",
            ),
            (
                "[[1], 2]",
                "[1]: found a number, expected an array, as the others",
            ),
            ("[]", "JSON: found no token, expected at least one"),
            (
                "{}",
                "JSON: found an object, expected a JSON array of token ids, or of arrays of them",
            ),
        ] {
            assert_eq!(read(text).map(|_| ()), Err(message.to_owned()));
        }
    }
}
