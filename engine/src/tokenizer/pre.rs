//! The table of pre-tokenizers that GGUF files name in `tokenizer.ggml.pre`: how text is cut into words before merging.
//!
//! Patterns are those of llama.cpp (`src/llama-vocab.cpp`), which stand for the patterns of the original `tokenizer.json`
//! files, with llama.cpp's own deviations (case classes only for ASCII in `gpt-4o` and `tekken`): a GGUF model has the
//! ids that llama.cpp gives it. They are written for a linear-time engine: the look-ahead of `\s+(?!\S)|\s+` is
//! the [`Tail`] of a pattern that ends in `\s+`.

use regex::Regex;

use crate::{Error, Result};

/// One row: names, cuts in order, and what goes with the name in llama.cpp.
pub(super) struct Row {
    names: &'static [&'static str],
    cuts: &'static [Cut],
    /// A word that is a token is not merged from its parts.
    pub(super) ignore_merges: bool,
    /// BOS is added when the file does not say.
    pub(super) add_bos: bool,
}

/// One pass over the pieces that the pass before has left; each match is a piece, and so is what lies between.
#[derive(Clone, Copy)]
enum Cut {
    /// Every match of a pattern.
    At(&'static str),
    /// A pattern ending in `\s+`, which leaves the last space of a run to the word behind it.
    Words(&'static str),
    /// The same, where a run that ends in a line break is one match of an earlier part of the pattern.
    Lines(&'static str),
    /// Groups of three digits counted from the right.
    Thousands,
}

const GPT2: Cut = Cut::Words(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+");
const LLAMA3: Cut = Cut::Lines(
    r"'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
);
const QWEN2: Cut = Cut::Lines(
    r"'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
);
const QWEN35: Cut = Cut::Lines(
    r"'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL]|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
);
const GPT4O: Cut = Cut::Lines(
    r"[^\r\n\p{L}\p{N}]?[\p{L}--a-z]*[\p{L}--A-Z]+(?:'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL])?|[^\r\n\p{L}\p{N}]?[\p{L}--a-z]+[\p{L}--A-Z]*(?:'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+",
);
const GRANITE_MULTI: Cut = Cut::Lines(
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}--a-z]*[\p{L}\p{M}--A-Z]+(?:'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL])?|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}--a-z]+[\p{L}\p{M}--A-Z]*(?:'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+",
);
const TEKKEN: Cut = Cut::Lines(
    r"[^\r\n\p{L}\p{N}]?[\p{L}--a-z]*[\p{L}--A-Z]+|[^\r\n\p{L}\p{N}]?[\p{L}--a-z]+[\p{L}--A-Z]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+",
);
// llama.cpp knows one class of letters, so the original's split by case does not happen.
const TINY_AYA: Cut = Cut::Lines(
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+(?:'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+",
);
const DEEPSEEK3: Cut = Cut::Lines(
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}\\~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+",
);
// DeepSeek V3's, where line breaks stand alone.
const SPARK: Cut = Cut::Words(
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}\\~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+|[\\r\\n]|\\s+",
);
const YOUTU_SCRIPTS: Cut = Cut::At(
    "[\u{AC00}-\u{D7A3}\u{3131}-\u{318E}]+|[\u{FF01}\u{2026}\u{201C}\u{201D}\u{2018}\u{2019}\u{2014}\u{FF1A}\u{FF1B}\u{FF0C}\u{3001}-\u{303F}\u{FE30}-\u{FE4F}]+|[\u{3105}-\u{312F}]+|[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+",
);
// As TINY_AYA, digit by digit.
const YOUTU: Cut = Cut::Lines(
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+(?:'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL])?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+",
);
// Han characters, then words of the others; one class of letters, and no marks.
const KIMI: Cut = Cut::Lines(
    r"[\u{3400}-\u{4DBF}\u{4E00}-\u{9FFF}\u{F900}-\u{FAFF}\u{20000}-\u{2A6DF}\u{2A700}-\u{2EBEF}\u{2F800}-\u{2FA1F}]+|[^\r\n\p{L}\p{N}]?[\p{L}--[\u{3400}-\u{4DBF}\u{4E00}-\u{9FFF}\u{F900}-\u{FAFF}\u{20000}-\u{2A6DF}\u{2A700}-\u{2EBEF}\u{2F800}-\u{2FA1F}]]+(?:'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
);
const AFMOE_SCRIPTS: Cut = Cut::At(
    "[\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{F900}-\u{FAFF}\u{3040}-\u{309F}\u{30A0}-\u{30FF}\u{FF65}-\u{FF9F}\u{2F00}-\u{2FDF}\u{E40}-\u{E7F}\u{E80}-\u{EFF}\u{1780}-\u{17FF}\u{1000}-\u{109F}\u{AA60}-\u{AA7F}\u{A9E0}-\u{A9FF}\u{AC00}-\u{D7AF}\u{1100}-\u{11FF}]+",
);
const CHAMELEON_MARKS: Cut = Cut::At(r"[\p{P}!-/:-@\[-`{-\~]");
const EXAONE_MOE: Cut = Cut::Lines(
    r"'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL]|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+",
);
const BAILING: Cut = Cut::Lines(
    r"'[sSdDmMtT]|'[lL][lL]|'[vV][eE]|'[rR][eE]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+",
);
const SEED_CODER: Cut = Cut::Lines(
    r"'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+",
);
const UFAKZEKA: Cut =
    Cut::Lines(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+");
const MINICPM5: Cut = Cut::Lines(
    r"'[sStTmMdD]|'[rR][eE]|'[vV][eE]|'[lL][lL]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
);
const BLOOM: Cut = Cut::At(r" ?[^(\s|.,!?\u{2026}\u{3002}\u{FF0C}\u{3001}\u{964}\u{6D4}\u{60C})]+");
const DIGIT: Cut = Cut::At(r"\p{N}");
const DIGITS_3: Cut = Cut::At(r"\p{N}{1,3}");
const KANA_HAN: Cut = Cut::At(r"[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+");
// White space outside ASCII is no member of a range in llama.cpp, hence the differences.
const HAN_HANGUL: Cut = Cut::At(r"[[\u{4E00}-\u{9FA5}\u{800}-\u{4E00}\u{AC00}-\u{D7FF}]--\s]+");
const BREAK: Cut = Cut::At(r"[\r\n]");
#[rustfmt::skip]
const DEEPSEEK_LETTERS: Cut = Cut::At(r"\s?[A-Za-z\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\u{1BC}-\u{1BF}\u{1C4}-\u{293}\u{295}-\u{2AF}\u{370}-\u{373}\u{376}\u{377}\u{37B}-\u{37D}\u{37F}\u{386}\u{388}-\u{38A}\u{38C}\u{38E}-\u{3A1}\u{3A3}-\u{3F5}\u{3F7}-\u{481}\u{48A}-\u{52F}\u{531}-\u{556}\u{10A0}-\u{10C5}\u{13A0}-\u{13F5}\u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}\u{1CBD}-\u{1CBF}\u{1D00}-\u{1D2B}\u{1D6B}-\u{1D77}\u{1D79}-\u{1D9A}\u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}\u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}\u{1F5D}\u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}\u{1FB6}-\u{1FBC}\u{1FBE}\u{1FC2}-\u{1FC4}\u{1FC6}-\u{1FCC}\u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}\u{1FF2}-\u{1FF4}\u{1FF6}-\u{1FFC}\u{2102}\u{2107}\u{210A}-\u{2113}\u{2115}\u{2119}-\u{211D}\u{2124}\u{2126}\u{2128}\u{212A}-\u{212D}\u{212F}-\u{2134}\u{2139}\u{213C}-\u{213F}\u{2145}-\u{2149}\u{214E}\u{2183}\u{2184}\u{2C00}-\u{2C7B}\u{2C7E}-\u{2CE4}\u{2CEB}-\u{2CEE}\u{2CF2}\u{2CF3}\u{A640}-\u{A66D}\u{A680}-\u{A69B}\u{A722}-\u{A76F}\u{A771}-\u{A787}\u{A78B}-\u{A78E}\u{AB70}-\u{ABBF}\u{FB00}-\u{FB06}\u{FB13}-\u{FB17}\u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}\u{10400}-\u{1044F}\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}\u{118A0}-\u{118DF}\u{1E900}-\u{1E943}]+");
const DEEPSEEK_MARKS: Cut = Cut::At(
    r"\s?[[!-/:-\~\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3000}-\u{3002}]--\s]+",
);

const fn row(names: &'static [&'static str], cuts: &'static [Cut]) -> Row {
    Row {
        names,
        cuts,
        ignore_merges: false,
        add_bos: false,
    }
}

#[rustfmt::skip]
static TABLE: &[Row] = &[
    row(&["default"], &[Cut::At(r"[\p{P}\$\+<=>\^\~\|]+"), GPT2, Cut::At(r"\p{N}+"), Cut::At("[0-9][0-9][0-9]")]),
    row(&["gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert",
        "jina-v1-en", "jina-v2-code", "roberta-bpe", "exaone4", "mpt", "olmo", "jais", "trillion", "granite-docling"], &[GPT2]),
    row(&["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"], &[DIGIT, GPT2]),
    Row { ignore_merges: true, add_bos: true, ..row(&["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral",
        "midm-2.0", "lfm2", "jina-v5-nano"], &[LLAMA3]) },
    row(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[LLAMA3]),
    Row { ignore_merges: true, ..row(&["glm4", "glm5"], &[LLAMA3]) },
    row(&["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"], &[QWEN2]),
    row(&["qwen35"], &[QWEN35]),
    row(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[GPT4O]),
    Row { ignore_merges: true, ..row(&["granite-embed-multi-97m"], &[GRANITE_MULTI]) },
    Row { ignore_merges: true, add_bos: true, ..row(&["tekken"], &[TEKKEN]) },
    row(&["tiny_aya", "cohere2moe"], &[Cut::Thousands, TINY_AYA]),
    row(&["deepseek-llm"], &[BREAK, DEEPSEEK_LETTERS, DEEPSEEK_MARKS, Cut::At(r"\s+$"), HAN_HANGUL, Cut::At(r"\p{N}+")]),
    row(&["deepseek-coder"], &[BREAK, Cut::At(r"\s?\p{L}+"), Cut::At(r"\s?\p{P}+"), HAN_HANGUL, DIGIT]),
    row(&["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"], &[DIGITS_3, KANA_HAN, DEEPSEEK3]),
    row(&["spark2_5"], &[DIGITS_3, KANA_HAN, SPARK, DIGIT]),
    row(&["afmoe"], &[Cut::Thousands, AFMOE_SCRIPTS, DEEPSEEK3]),
    row(&["kimi-k2"], &[KIMI]),
    Row { ignore_merges: true, ..row(&["youtu"], &[YOUTU_SCRIPTS, YOUTU]) },
    row(&["superbpe"], &[Cut::At(r"\p{N}+"), Cut::Thousands]),
    Row { add_bos: true, ..row(&["chameleon"], &[Cut::At("<sentinel:[0-9]+>"), Cut::At("IMGIMG[A-I]{1,4}Z"), Cut::At("[\t\n]|    |  "),
        DIGIT, CHAMELEON_MARKS, GPT2]) },
    row(&["falcon"], &[Cut::At(r"[\p{P}\$\+<=>\^\~\|`]+"), GPT2, Cut::At("[0-9][0-9][0-9]")]),
    row(&["poro-chat", "bloom", "gpt3-finnish"], &[BLOOM]),
    row(&["viking"], &[BLOOM, DIGIT]),
    row(&["exaone-moe"], &[EXAONE_MOE]),
    row(&["bailingmoe", "bailingmoe2", "llada-moe"], &[BAILING]),
    row(&["seed-coder"], &[SEED_CODER]),
    row(&["ufakzeka"], &[UFAKZEKA]),
    row(&["laguna"], &[Cut::At(r"[^\n]+|[\n]+"), QWEN2]),
    Row { ignore_merges: true, ..row(&["minicpm5"], &[DIGITS_3, MINICPM5]) },
];

/// The row of a name.
pub(super) fn row_of(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.names.contains(&name))
}

/// A row's cuts, compiled.
pub(super) struct PreTokenizer {
    passes: Vec<Pass>,
}

enum Pass {
    Find(Regex, Tail),
    Thousands,
}

/// What becomes of white space at the end of a match of more than one char, when text follows.
#[derive(Clone, Copy, PartialEq)]
enum Tail {
    Keep,
    GiveBack,
    GiveBackUnlessBreak,
}

impl PreTokenizer {
    /// Compiles a row.
    ///
    /// # Errors
    /// When a pattern of the table does not compile, which a test excludes.
    pub(super) fn new(row: &Row) -> Result<Self> {
        let pass = |cut: &Cut| {
            let (pattern, tail) = match *cut {
                Cut::At(pattern) => (pattern, Tail::Keep),
                Cut::Words(pattern) => (pattern, Tail::GiveBack),
                Cut::Lines(pattern) => (pattern, Tail::GiveBackUnlessBreak),
                Cut::Thousands => return Ok(Pass::Thousands),
            };
            // Chars that Unicode has named since belong to no class in llama.cpp's tables.
            let pattern = ["L", "M", "N", "P", "S"]
                .iter()
                .fold(pattern.to_owned(), |p, class| {
                    let class = format!(r"\p{{{class}}}");
                    p.replace(&class, &format!(r"[{class}&&\p{{Age:15.1}}]"))
                });
            let regex = Regex::new(&pattern)
                .map_err(|e| Error::Unsupported(format!("pre-tokenizer {:?}: {e}", row.names)))?;
            Ok(Pass::Find(regex, tail))
        };
        Ok(Self {
            passes: row.cuts.iter().map(pass).collect::<Result<_>>()?,
        })
    }

    /// Cuts a text into words, in order, nothing left out.
    pub(super) fn words<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut pieces = vec![text];
        for pass in &self.passes {
            let mut next = Vec::with_capacity(pieces.len());
            for piece in pieces {
                match pass {
                    Pass::Find(regex, tail) => find(regex, *tail, piece, &mut next),
                    Pass::Thousands => thousands(piece, &mut next),
                }
            }
            pieces = next;
        }
        pieces
    }
}

/// Pushes the matches in `text` and what lies between them.
fn find<'t>(regex: &Regex, tail: Tail, text: &'t str, out: &mut Vec<&'t str>) {
    let mut done = 0;
    while let Some(found) = regex.find_at(text, done) {
        let mut end = found.end();
        if tail != Tail::Keep && end < text.len() {
            let last = text[found.start()..end].char_indices().next_back();
            if let Some((offset, c)) = last
                && offset > 0
                && c.is_whitespace()
                && (tail == Tail::GiveBack || !matches!(c, '\r' | '\n'))
            {
                end = found.start() + offset;
            }
        }
        if done < found.start() {
            out.push(&text[done..found.start()]);
        }
        out.push(&text[found.start()..end]);
        done = end;
        if done == text.len() {
            return;
        }
    }
    out.push(&text[done..]);
}

/// Cuts runs of digits into groups of three, the first of which may be shorter and has the text before it.
fn thousands<'t>(text: &'t str, out: &mut Vec<&'t str>) {
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !c.is_numeric() {
            continue;
        }
        let mut digits = vec![at];
        while let Some(&(next, c)) = chars.peek() {
            if !c.is_numeric() {
                break;
            }
            digits.push(next);
            chars.next();
        }
        let first = digits.len() % 3;
        for (i, &offset) in digits.iter().enumerate() {
            if i > 0 && i % 3 == first {
                out.push(&text[start..offset]);
                start = offset;
            }
        }
        let end = chars.peek().map_or(text.len(), |&(next, _)| next);
        out.push(&text[start..end]);
        start = end;
    }
    if start < text.len() {
        out.push(&text[start..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str, text: &str) -> Vec<String> {
        let pre = PreTokenizer::new(row_of(name).unwrap()).unwrap();
        let words = pre.words(text);
        assert_eq!(words.concat(), text);
        words.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn every_row_compiles_and_loses_nothing() {
        let text = "I'LL pay 1234567 crowns:\r\n\r\n   \t漢字、かな　x  \n y\u{301}  'tis!//\n  ";
        for row in TABLE {
            for name in row.names {
                assert!(
                    words(name, text).iter().all(|word| !word.is_empty()),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn classes_are_those_of_unicode_15_1() {
        // A letter since 6.0, one since 15.1, one since 16.0.
        assert_eq!(
            words("gpt-2", "<\u{620}<\u{2ebf0}<\u{105d4}<"),
            ["<", "\u{620}", "<", "\u{2ebf0}", "<\u{105d4}<"]
        );
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = TABLE.iter().flat_map(|row| row.names).collect();
        let n = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), n);
    }

    /// Whole, these give the nasty text the ids that llama.cpp b11549 gives it (`tests/golden/check_pre.py`).
    #[test]
    fn names_that_only_llama_cpp_has() {
        for (name, text, expected) in [
            ("kimi-k2", "漢字abc'S 12345", "漢字|abc'S| |123|45"),
            ("superbpe", "ab 1234567 c", "ab |1|234|567| c"),
            ("afmoe", "x1234", "x|1|234"),
            ("spark2_5", "a\n\nb 12", "a|\n|\n|b| |1|2"),
            ("youtu", "가각a12", "가각|a|1|2"),
            ("chameleon", "a12!b", "a|1|2|!|b"),
        ] {
            assert_eq!(words(name, text).join("|"), expected, "{name}");
        }
    }

    #[test]
    fn the_last_space_belongs_to_the_word() {
        assert_eq!(
            words("gpt-2", "a   b\n\nc  "),
            ["a", "  ", " b", "\n", "\n", "c", "  "]
        );
        assert_eq!(
            words("llama-bpe", "a   b \n\n c 1234  "),
            ["a", "  ", " b", " \n\n", " c", " ", "123", "4", "  "]
        );
        assert_eq!(words("smollm", "in 2026"), ["in", " ", "2", "0", "2", "6"]);
    }
}
