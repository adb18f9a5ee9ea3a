//! The fields of a suite's file. What is not known is an error that names it.

use serde::Deserialize;

use crate::{Error, Result};

/// Version of the format.
pub const FORMAT: u32 = 1;

/// A suite as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SuiteFile {
    /// Version of the format.
    pub format: u32,
    /// Name: small letters, digits, `-`.
    pub name: String,
    /// What it measures, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Seed of everything that is drawn.
    #[serde(default = "seed")]
    pub seed: u64,
    /// Lengths in tokens of the model, `4096` or `"4k"`.
    pub lengths: Vec<Length>,
    /// Depths of tasks that have that axis, 0 = first, 1 = last.
    #[serde(default)]
    pub depths: Vec<f64>,
    /// Whether a question stands at each depth, or at one of them in turn.
    #[serde(default)]
    pub depth_mode: DepthMode,
    /// Times that each item is asked (for sampling).
    #[serde(default = "one")]
    pub repeats: usize,
    /// How answers are got.
    #[serde(default)]
    pub method: Method,
    /// With the short control: the evidence alone.
    #[serde(default = "yes")]
    pub short: bool,
    /// With the no-context control: the question alone.
    #[serde(default = "yes")]
    pub none: bool,
    /// The tasks.
    pub task: Vec<TaskEntry>,
}

/// A task of a suite.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TaskEntry {
    /// Kind of task: `fathom list tasks`.
    pub kind: String,
    /// Name in the suite; the kind where absent.
    #[serde(default)]
    pub name: String,
    /// Questions (sweep: documents).
    #[serde(default = "twenty")]
    pub questions: usize,
    /// How answers are got, where not as in the suite.
    #[serde(default)]
    pub method: Option<Method>,
    /// What fills documents up to the length; the kind's own where absent.
    #[serde(default)]
    pub filler: Option<FillerChoice>,
    /// Parameters of the kind.
    #[serde(default)]
    pub parameters: toml::Table,
}

/// How answers are got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Text is generated.
    #[default]
    Generate,
    /// The log-likelihood of options is compared, where the task has options.
    Likelihood,
}

/// Where questions stand that have a depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DepthMode {
    /// Every question at each depth.
    #[default]
    Each,
    /// Every question at one depth, the depths in turn; the same at every length.
    Spread,
}

/// What fills documents.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FillerChoice {
    /// Generated prose.
    Prose,
    /// RULER's noise.
    Noise,
    /// Needles that nobody asks for.
    Needles,
    /// Nothing.
    None,
    /// A text file; relative to the suite's folder.
    Text(String),
}

/// A number of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(pub usize);

impl std::str::FromStr for Length {
    type Err = String;

    /// `4096`, `4k` (4 096), `1m` (1 048 576).
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || "a number of tokens such as 4096, 4k or 1m".to_owned();
        let lower = text.trim().to_lowercase();
        let (digits, unit) = match lower.strip_suffix(['k', 'm']) {
            Some(digits) => (
                digits,
                if lower.ends_with('k') {
                    1 << 10
                } else {
                    1 << 20
                },
            ),
            None => (lower.as_str(), 1usize),
        };
        let n: usize = digits.parse().map_err(|_| wrong())?;
        n.checked_mul(unit)
            .filter(|&n| n > 0)
            .map(Self)
            .ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a number of tokens such as 4096, \"4k\" or \"1m\""
        )]
        enum Either {
            Number(usize),
            Text(String),
        }
        let text = match Either::deserialize(from)? {
            Either::Number(n) => n.to_string(),
            Either::Text(text) => text,
        };
        text.parse()
            .map_err(|e| serde::de::Error::custom(format!("invalid value `{text}`, expected {e}")))
    }
}

fn seed() -> u64 {
    42
}

fn one() -> usize {
    1
}

fn twenty() -> usize {
    20
}

fn yes() -> bool {
    true
}

impl SuiteFile {
    /// Reads and checks a file's text; `source` names it in messages.
    pub fn parse(text: &str, source: &str) -> Result<Self> {
        let mut file: Self = toml::from_str(text).map_err(|e| toml_error(&e, text, source))?;
        for task in &mut file.task {
            if task.name.is_empty() {
                task.name = task.kind.clone();
            }
        }
        file.check(source)?;
        Ok(file)
    }

    /// # Errors
    /// When a value cannot be used.
    fn check(&self, source: &str) -> Result<()> {
        let wrong = |field: &str, found: String, expected: &str| {
            Err(Error::input(source, field, found, expected))
        };
        if self.format != FORMAT {
            return wrong(
                "format",
                self.format.to_string(),
                &format!("{FORMAT}, which is all that this version reads"),
            );
        }
        if !is_name(&self.name) {
            return wrong(
                "name",
                format!("`{}`", self.name),
                "small letters, digits and `-`",
            );
        }
        if self.lengths.is_empty() || !self.lengths.is_sorted_by(|a, b| a < b) {
            let found: Vec<String> = self.lengths.iter().map(|l| l.0.to_string()).collect();
            return wrong(
                "lengths",
                format!("[{}]", found.join(", ")),
                "at least one length, ascending",
            );
        }
        if let Some(depth) = self.depths.iter().find(|d| !(0.0..=1.0).contains(*d)) {
            return wrong("depths", depth.to_string(), "shares in 0..=1");
        }
        if self.repeats == 0 {
            return wrong("repeats", "0".to_owned(), "1 or more");
        }
        if self.task.is_empty() {
            return wrong("task", "none".to_owned(), "at least one [[task]]");
        }
        for (index, task) in self.task.iter().enumerate() {
            if !is_name(&task.name) {
                return wrong(
                    &format!("task[{index}].name"),
                    format!("`{}`", task.name),
                    "small letters, digits and `-`",
                );
            }
            if self.task[..index].iter().any(|t| t.name == task.name) {
                return wrong(
                    &format!("task[{index}].name"),
                    format!("`{}` again", task.name),
                    "a name of its own",
                );
            }
            if task.questions == 0 {
                return wrong(
                    &format!("task[{index}].questions"),
                    "0".to_owned(),
                    "1 or more",
                );
            }
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// What TOML's reader says, in one line: file, line, found, expected.
pub fn toml_error(error: &toml::de::Error, text: &str, source: &str) -> Error {
    let field = error.span().map_or_else(
        || "its content".to_owned(),
        |span| {
            format!(
                "line {}",
                1 + text[..span.start.min(text.len())].matches('\n').count()
            )
        },
    );
    told(error.message(), source, &field)
}

/// A message of serde's as found and expected.
pub fn told(message: &str, source: &str, field: &str) -> Error {
    let message = message.lines().next().unwrap_or("").trim();
    if let Some((found, expected)) = message.split_once(", expected ") {
        let found = found
            .trim_start_matches("invalid type: ")
            .trim_start_matches("invalid value: ");
        return Error::input(
            source,
            field,
            found.trim_start_matches("invalid value "),
            expected,
        );
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        return Error::input(source, field, format!("no {name}"), "it");
    }
    Error::input(source, field, message, "a suite's TOML")
}
