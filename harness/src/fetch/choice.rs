//! Which of a commit's files are wanted: by patterns, or because a model needs them.

use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::fetch::listing::{Entry, Listing};
use crate::fetch::source::Source;
use crate::{Error, Result};

/// Endings of files that hold weights, in whatever format.
const WEIGHTS: [&str; 18] = [
    "safetensors",
    "gguf",
    "bin",
    "pt",
    "pth",
    "ckpt",
    "h5",
    "msgpack",
    "onnx",
    "onnx_data",
    "ot",
    "tflite",
    "nemo",
    "npz",
    "pkl",
    "mlmodel",
    "llamafile",
    "distcp",
];

/// Patterns of paths; `*` matches `/` too, as in `huggingface_hub`.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
    words: String,
}

impl Patterns {
    /// Of what `--include` and `--exclude` say.
    ///
    /// # Errors
    /// When one is no glob pattern.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        let set = |option: &str, patterns: &[String]| -> Result<Option<GlobSet>> {
            let mut set = GlobSetBuilder::new();
            for pattern in patterns {
                let glob = Glob::new(pattern)
                    .map_err(|e| Error::input(option, "pattern", pattern, e.kind()))?;
                set.add(glob);
            }
            let built = set
                .build()
                .map_err(|e| Error::input(option, "patterns", patterns.join(" "), e.kind()))?;
            Ok((!patterns.is_empty()).then_some(built))
        };
        let words = [("--include", include), ("--exclude", exclude)]
            .into_iter()
            .flat_map(|(option, all)| all.iter().map(move |p| format!(" {option} {p}")))
            .collect();
        Ok(Self {
            include: set("--include", include)?,
            exclude: set("--exclude", exclude)?,
            words,
        })
    }

    /// Whether a path is wanted.
    pub fn want(&self, path: &str) -> bool {
        self.include.as_ref().is_none_or(|set| set.is_match(path))
            && !self.exclude.as_ref().is_some_and(|set| set.is_match(path))
    }

    /// The files of a folder's listing that are wanted.
    ///
    /// # Errors
    /// When there are none.
    pub fn wanted<'a>(&self, folder: &Path, listing: &'a Listing) -> Result<Vec<&'a Entry>> {
        let all = listing.files.iter();
        let chosen: Vec<&Entry> = all.filter(|f| self.want(&f.path)).collect();
        if chosen.is_empty() {
            let words = &self.words;
            return Err(Error::Usage(format!(
                "{}{words}: no file is meant",
                folder.display()
            )));
        }
        Ok(chosen)
    }

    /// The files of a commit that are wanted of a source.
    ///
    /// # Errors
    /// When there are none.
    pub fn choose<'a>(&self, source: &Source, listing: &'a Listing) -> Result<Vec<&'a Entry>> {
        let of_file = |path: &str| match &source.file {
            Some(file) => split_stem(path).unwrap_or(path) == split_stem(file).unwrap_or(file),
            None => true,
        };
        let all = listing.files.iter();
        let chosen: Vec<&Entry> = all
            .filter(|f| of_file(&f.path) && self.want(&f.path))
            .collect();
        if chosen.is_empty() {
            return Err(Error::Usage(format!(
                "{source}{}: none of its {} files is meant",
                self.words,
                listing.files.len()
            )));
        }
        Ok(chosen)
    }
}

/// What a model needs of a commit, and what to open of its snapshot.
///
/// All files, but of weights only those that are opened: the named GGUF file, else `model*.safetensors`, else the one
/// GGUF file that there is. A split set comes whole.
///
/// # Errors
/// When there is nothing to open, or a choice that only a person can make.
pub fn of_model<'a>(source: &Source, listing: &'a Listing) -> Result<(Vec<&'a Entry>, PathBuf)> {
    let ggufs: Vec<&str> = listing
        .files
        .iter()
        .map(|f| &*f.path)
        .filter(|p| is_gguf(p))
        .collect();
    let has_safetensors = listing.files.iter().any(|f| is_safetensors(&f.path));
    let gguf: Option<&str> = match &source.file {
        Some(file) => {
            let known = ggufs.iter().find(|path| **path == file);
            Some(known.copied().ok_or_else(|| {
                Error::input(source, "file", file, format!("one of {}", some_of(&ggufs)))
            })?)
        }
        None if has_safetensors => None,
        None => {
            let first = ggufs.first().copied().ok_or_else(|| {
                Error::Usage(format!(
                    "{source}: holds no model.safetensors and no GGUF file"
                ))
            })?;
            let stem = |path| split_stem(path).unwrap_or(path);
            if ggufs.iter().any(|path| stem(path) != stem(first)) {
                return Err(Error::Usage(format!(
                    "{source}: holds several models; name one, as in hf:{}/{first}, of {}",
                    source.id(),
                    some_of(&ggufs)
                )));
            }
            Some(first)
        }
    };
    let in_set = |path: &str| match (gguf, split_stem(path)) {
        (Some(gguf), Some(stem)) => split_stem(gguf) == Some(stem),
        (Some(gguf), None) => path == gguf,
        (None, _) => false,
    };
    let wanted = |path: &str| match gguf {
        Some(_) => in_set(path) || !is_weights(path),
        None => is_safetensors(path) || !is_weights(path),
    };
    let chosen = listing.files.iter().filter(|f| wanted(&f.path)).collect();
    // Of a split set the first is opened; listings are sorted.
    let open = listing.files.iter().find(|f| in_set(&f.path));
    Ok((
        chosen,
        open.map_or_else(PathBuf::new, |f| f.path.clone().into()),
    ))
}

fn extension(path: &str) -> String {
    let extension = Path::new(path).extension().unwrap_or_default();
    extension.to_string_lossy().to_ascii_lowercase()
}

fn is_weights(path: &str) -> bool {
    WEIGHTS.contains(&&*extension(path))
}

/// A language model in GGUF, not the projector of images beside it.
fn is_gguf(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    extension(path) == "gguf" && !name.starts_with("mmproj")
}

/// The names that the engine opens in a Hugging Face folder.
fn is_safetensors(path: &str) -> bool {
    !path.contains('/') && path.starts_with("model") && extension(path) == "safetensors"
}

/// `q/NAME` of `q/NAME-00001-of-00003.gguf`.
fn split_stem(path: &str) -> Option<&str> {
    let (rest, count) = path.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let five = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    (five(count) && five(number)).then_some(stem)
}

fn some_of(paths: &[&str]) -> String {
    let more = paths.len().saturating_sub(8);
    let named = paths[..paths.len() - more].join(", ");
    match (paths.len(), more) {
        (0, _) => "the GGUF files, of which there are none".to_owned(),
        (_, 0) => named,
        _ => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::digest::Digest;

    fn listing(paths: &[&str]) -> Result<Listing, Box<dyn std::error::Error>> {
        let digest = Digest::parse(&"a".repeat(40)).ok_or("no digest")?;
        let entry = |path: &&str| Entry {
            path: (*path).to_owned(),
            size: 1,
            digest: digest.clone(),
            git: digest.hex().to_owned(),
        };
        Ok(Listing::new(
            "c".repeat(40),
            paths.iter().map(entry).collect(),
        )?)
    }

    fn paths(entries: &[&Entry]) -> Vec<String> {
        entries.iter().map(|e| e.path.clone()).collect()
    }

    type Test = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn patterns_choose_as_in_huggingface_hub() -> Test {
        let listing = listing(&["a.json", "sub/b.json", "sub/c.bin"])?;
        let source = Source::parse("hf:o/n")?;
        let choose = |include: &[&str], exclude: &[&str]| {
            let owned = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
            let patterns = Patterns::new(&owned(include), &owned(exclude))?;
            patterns.choose(&source, &listing).map(|c| paths(&c))
        };
        assert_eq!(choose(&["*.json"], &[])?, ["a.json", "sub/b.json"]);
        assert_eq!(choose(&[], &["sub/*"])?, ["a.json"]);
        assert_eq!(choose(&["sub/*"], &["*.bin"])?, ["sub/b.json"]);
        assert!(choose(&["*.gguf"], &[]).is_err_and(|e| e.to_string().contains("*.gguf")));
        assert!(choose(&["[a"], &[]).is_err_and(|e| e.exit_code() == 2));
        Ok(())
    }

    #[test]
    fn a_model_needs_its_own_weights_and_no_others() -> Test {
        let folder = listing(&[
            "README.md",
            "config.json",
            "consolidated.safetensors",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "original/params.json",
            "original/consolidated.00.pth",
            "pytorch_model.bin",
            "x.gguf",
        ])?;
        let (chosen, open) = of_model(&Source::parse("hf:o/n")?, &folder)?;
        assert_eq!(open, PathBuf::new());
        assert_eq!(
            paths(&chosen),
            [
                "README.md",
                "config.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
                "original/params.json",
            ]
        );
        let (chosen, open) = of_model(&Source::parse("hf:o/n/x.gguf")?, &folder)?;
        assert_eq!(open, Path::new("x.gguf"));
        assert!(
            chosen
                .iter()
                .all(|f| f.path == "x.gguf" || !is_weights(&f.path))
        );
        Ok(())
    }

    #[test]
    fn of_several_gguf_files_a_person_chooses() -> Test {
        let many = listing(&[
            "mmproj-f16.gguf",
            "q4.gguf",
            "q8/m-00001-of-00002.gguf",
            "q8/m-00002-of-00002.gguf",
        ])?;
        let error = of_model(&Source::parse("hf:o/n")?, &many).err();
        assert!(error.is_some_and(|e| e.to_string().contains("hf:o/n/q4.gguf")));
        let (chosen, open) = of_model(&Source::parse("hf:o/n/q8/m-00001-of-00002.gguf")?, &many)?;
        assert_eq!(
            paths(&chosen),
            ["q8/m-00001-of-00002.gguf", "q8/m-00002-of-00002.gguf"]
        );
        assert_eq!(open, Path::new("q8/m-00001-of-00002.gguf"));
        let one = listing(&["README.md", "q4.gguf"])?;
        assert_eq!(
            of_model(&Source::parse("hf:o/n")?, &one)?.1,
            Path::new("q4.gguf")
        );
        assert!(of_model(&Source::parse("hf:o/n/q5.gguf")?, &one).is_err());
        assert!(of_model(&Source::parse("hf:o/n")?, &listing(&["x.bin"])?).is_err());
        Ok(())
    }
}
