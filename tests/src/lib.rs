//! Helpers of the end-to-end tests: golden references, the criterion, and real models from the cache.

use std::path::{Path, PathBuf};

use fathom_engine::{Extend, Logits, Model, PromptTree, TreeOptions};
use safetensors::{Dtype, SafeTensors};

/// Every logit lies within this share of the logits' standard deviation.
pub const CRITERION: f64 = 2e-4;

/// A file or folder of `tests/golden`.
pub fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(path)
}

/// A JSON file of `tests/golden`.
pub fn golden_json(path: &str) -> serde_json::Value {
    let path = golden(path);
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The tensors of a safetensors file, by name.
pub struct Tensors(Vec<u8>);

impl Tensors {
    /// Reads a file of `tests/golden`.
    pub fn golden(path: &str) -> Self {
        Self::read(&golden(path))
    }

    /// Reads any file.
    pub fn read(path: &Path) -> Self {
        Self(std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    fn values<T>(&self, name: &str, dtype: Dtype, read: impl Fn(&[u8]) -> T) -> Vec<T> {
        let file = SafeTensors::deserialize(&self.0).expect("a safetensors file");
        let view = file.tensor(name).expect(name);
        assert_eq!(view.dtype(), dtype, "{name}");
        let size = view.dtype().bitsize() / 8;
        view.data().chunks_exact(size).map(read).collect()
    }

    /// An f32 tensor, flat.
    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.values(name, Dtype::F32, |b| {
            f32::from_le_bytes(b.try_into().unwrap())
        })
    }

    /// An i32 tensor of ids or indices, flat.
    pub fn ids(&self, name: &str) -> Vec<u32> {
        self.values(name, Dtype::I32, |b| {
            u32::from_le_bytes(b.try_into().unwrap())
        })
    }

    /// An i64 tensor of positions or offsets, flat.
    pub fn positions(&self, name: &str) -> Vec<usize> {
        self.values(name, Dtype::I64, |b| {
            i64::from_le_bytes(b.try_into().unwrap()) as usize
        })
    }
}

/// Prompts and the logits after each of their tokens.
pub struct Reference {
    /// The prompts.
    pub prompts: Vec<Vec<u32>>,
    /// Of each prompt, [tokens, n_vocab] flat.
    pub logits: Vec<Vec<f32>>,
    /// Entries of the vocabulary.
    pub n_vocab: usize,
    /// Standard deviation of all logits.
    pub std: f64,
}

impl Reference {
    /// `tokens`, `logits` and `offsets` as `fathom logits record` writes them.
    pub fn read(path: &Path) -> Self {
        let file = Tensors::read(path);
        let (tokens, logits, offsets) = (
            file.ids("tokens"),
            file.f32("logits"),
            file.positions("offsets"),
        );
        let n_vocab = logits.len() / tokens.len();
        let spans = || offsets.windows(2).map(|w| w[0]..w[1]);
        Self {
            prompts: spans().map(|s| tokens[s].to_vec()).collect(),
            logits: spans()
                .map(|s| logits[s.start * n_vocab..s.end * n_vocab].to_vec())
                .collect(),
            n_vocab,
            std: std_of(&logits),
        }
    }

    /// How far a model is from this reference on every prompt.
    pub fn compare(&self, model: &Model) -> Vec<Comparison> {
        let rows = self.prompts.iter().zip(&self.logits);
        rows.map(|(prompt, expected)| {
            Comparison::new(
                &logits_at(model, prompt, 0),
                expected,
                self.n_vocab,
                self.std,
            )
        })
        .collect()
    }

    /// Fails unless the model meets the criterion everywhere; the largest difference, in standard deviations.
    pub fn assert_same(&self, model: &Model) -> f64 {
        let mut worst = 0.0f64;
        for (prompt, c) in self.prompts.iter().zip(self.compare(model)) {
            c.assert_same(&format!(
                "{}, prompt of {} tokens",
                model.name,
                prompt.len()
            ));
            worst = worst.max(c.worst());
        }
        worst
    }
}

/// Population standard deviation.
pub fn std_of(x: &[f32]) -> f64 {
    let n = x.len() as f64;
    let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    (x.iter()
        .map(|v| (f64::from(*v) - mean).powi(2))
        .sum::<f64>()
        / n)
        .sqrt()
}

/// How far logits are from a reference.
pub struct Comparison {
    /// Largest difference at each position, in standard deviations of the reference.
    pub moved: Vec<f64>,
    /// Positions where another token is the most probable.
    pub argmax: Vec<usize>,
}

impl Comparison {
    /// Compares [n, n_vocab] logits.
    pub fn new(got: &[f32], expected: &[f32], n_vocab: usize, std: f64) -> Self {
        assert_eq!(got.len(), expected.len());
        let rows = || got.chunks(n_vocab).zip(expected.chunks(n_vocab));
        let far = |(a, b): (&f32, &f32)| f64::from(a - b).abs() / std;
        // A NaN counts as infinitely far.
        let worst = |m: f64, d: f64| if d.is_nan() { f64::INFINITY } else { m.max(d) };
        Self {
            moved: rows()
                .map(|(a, b)| a.iter().zip(b).map(far).fold(0.0, worst))
                .collect(),
            argmax: rows()
                .enumerate()
                .filter(|(_, (a, b))| argmax(a) != argmax(b))
                .map(|(i, _)| i)
                .collect(),
        }
    }

    /// Largest difference, in standard deviations.
    pub fn worst(&self) -> f64 {
        self.moved.iter().copied().fold(0.0, f64::max)
    }

    /// The first position where the criterion is not met.
    pub fn first_off(&self) -> Option<usize> {
        self.moved.iter().position(|d| *d > CRITERION)
    }

    /// Fails, with `what`, unless the criterion is met everywhere and every argmax is the same.
    pub fn assert_same(&self, what: &str) {
        assert!(
            self.first_off().is_none() && self.argmax.is_empty(),
            "{what}: off by {:.1e} standard deviations at most, from position {:?} on; other argmax at {:?}",
            self.worst(),
            self.first_off(),
            self.argmax
        );
    }
}

/// Index of the largest value, the first of equals.
pub fn argmax(x: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in x.iter().enumerate() {
        if *v > x[best] {
            best = i;
        }
    }
    best
}

/// Natural logarithms of the softmax, in f64.
pub fn log_softmax(x: &[f32]) -> Vec<f64> {
    let max = f64::from(x[argmax(x)]);
    let sum: f64 = x.iter().map(|v| (f64::from(*v) - max).exp()).sum();
    x.iter().map(|v| f64::from(*v) - max - sum.ln()).collect()
}

/// A JSON array of token ids.
pub fn ids(v: &serde_json::Value) -> Vec<u32> {
    let array = v.as_array().expect("an array of ids").iter();
    array.map(|x| x.as_u64().expect("an id") as u32).collect()
}

/// A JSON array of numbers.
pub fn numbers(v: &serde_json::Value) -> Vec<f64> {
    let array = v.as_array().expect("an array of numbers").iter();
    array.map(|x| x.as_f64().expect("a number")).collect()
}

/// [n, n_vocab] logits of a sequence whose first token stands at position `start`.
pub fn logits_at(model: &Model, tokens: &[u32], start: usize) -> Vec<f32> {
    let mut tree = PromptTree::new(model, TreeOptions::default()).expect("a tree");
    let span = tree.root(start);
    let batch = [Extend {
        span,
        tokens,
        logits: Logits::All,
    }];
    let mut out = Vec::new();
    tree.extend(&batch, &mut |row| out.extend_from_slice(row.logits))
        .expect("logits");
    out
}

/// Opens a golden checkpoint.
pub fn open(path: &Path) -> Model {
    Model::open(path, false).unwrap_or_else(|e| panic!("{e}"))
}

/// A file that `tests/fetch_models.py` leaves in the cache. Where it is not, the caller skips its test, with a
/// line that says so; with `FATHOM_REQUIRE_MODELS=1` the test fails instead.
pub fn fetched(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("FATHOM_CACHE")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/fathom")));
    let path = cache.unwrap_or_default().join(name);
    if path.is_file() {
        return Some(path);
    }
    let missing = format!(
        "{} is not there; python3 tests/fetch_models.py fetches it",
        path.display()
    );
    let required = std::env::var("FATHOM_REQUIRE_MODELS").is_ok_and(|v| v == "1");
    assert!(!required, "{missing}");
    eprintln!("SKIPPED: {missing}");
    None
}
