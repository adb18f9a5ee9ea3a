//! A run and its items, for a person at a terminal.

use std::path::Path;

use crate::cli::out;
use crate::record::{Answer, ItemRecord, ScoreRow};
use crate::run::RunFolder;
use crate::{Error, Result};

/// Lines of a prompt that are shown at each end, and around evidence, unless it is shorter.
const SHOWN: usize = 400;

pub fn run(dir: &Path, item: Option<&str>) -> Result<()> {
    let folder = RunFolder::open(dir)?;
    match item {
        Some(id) => show_item(&folder, id),
        None => show_folder(&folder),
    }
}

fn show_folder(folder: &RunFolder) -> Result<()> {
    let m = folder.manifest();
    let state = if folder.finished() {
        format!("finished {}", m.finished)
    } else {
        "unfinished".into()
    };
    let mut facts = vec![
        vec!["run".to_owned(), folder.name()],
        vec!["state".to_owned(), state],
        vec!["logits".to_owned(), m.logits_fingerprint.clone()],
    ];
    let values = m
        .model
        .iter()
        .filter(|(k, _)| *k != "layers_in_words")
        .chain(&m.identity);
    facts.extend(values.map(|(k, v)| vec![k.replace('_', " "), plain(v)]));
    let answers = folder.answers()?;
    let status = |id: &str| answers.iter().find(|a| a.item == id);
    let scores = folder.scores()?;
    let mut rows = Vec::new();
    for record in folder.items()? {
        let record = record?;
        let answer = status(&record.item.id);
        rows.push(vec![
            record.item.id.clone(),
            answer.map_or_else(
                || "open".to_owned(),
                |a| plain(&serde_json::json!(a.status)),
            ),
            score_of(&scores, &record.item.id),
            answer.map_or_else(String::new, |a| shorten(&clean(&a.text), 60)),
        ]);
    }
    let facts = out::table(&[], facts);
    out::print(&format!(
        "{facts}\n{}",
        out::table(&["item", "ended", "score", "answer"], rows)
    ))
}

fn show_item(folder: &RunFolder, id: &str) -> Result<()> {
    let mut found: Option<ItemRecord> = None;
    let mut others = 0;
    for record in folder.items()? {
        let record = record?;
        if record.item.id == id {
            found = Some(record);
            others = 0;
            break;
        }
        if record.item.id.starts_with(id) {
            others += usize::from(found.is_some());
            found.get_or_insert(record);
        }
    }
    let file = folder.dir().display().to_string();
    let record = found.ok_or_else(|| Error::input(&file, "item", id, "an item of the run"))?;
    if others > 0 {
        let expected = format!("the beginning of one id only; {} others begin so", others);
        return Err(Error::input(&file, "item", id, expected));
    }
    let answer = folder
        .answers()?
        .into_iter()
        .find(|a| a.item == record.item.id);
    let scores = folder.scores()?;
    let paint = Paint { on: out::colours() };
    let mut text = format!("{}\n\n", paint.bold(&record.item.id));
    text += &prompt(&record, &paint);
    text += &match &answer {
        None => format!("\n\n{}\n", paint.bold("no answer yet")),
        Some(answer) => answered(answer, &score_of(&scores, &record.item.id), &paint),
    };
    out::print(&text)
}

/// The prompt with its evidence marked; long stretches without evidence are cut.
fn prompt(record: &ItemRecord, paint: &Paint) -> String {
    let text = &record.prompt.text;
    let tokens = record.prompt.tokens();
    let about = record.prompt.about.map_or("", |_| "about ");
    let mut out = paint.bold(&format!("sent, {about}{tokens} tokens:")) + "\n";
    let mut at = 0;
    for range in &record.prompt.evidence {
        let sound = at <= range.start && range.start <= range.end;
        let (Some(before), Some(evidence)) = (text.get(at..range.start), text.get(range.clone()))
        else {
            continue;
        };
        if sound {
            out += &cut(before);
            out += &paint.evidence(&clean(evidence));
            at = range.end;
        }
    }
    out + &cut(text.get(at..).unwrap_or_default())
}

fn cut(text: &str) -> String {
    let n = text.chars().count();
    if n <= 2 * SHOWN {
        return clean(text);
    }
    let head: String = text.chars().take(SHOWN).collect();
    let tail: String = text.chars().skip(n - SHOWN).collect();
    format!(
        "{}\n[... {} characters ...]\n{}",
        clean(&head),
        n - 2 * SHOWN,
        clean(&tail)
    )
}

fn answered(answer: &Answer, score: &str, paint: &Paint) -> String {
    let mut out = String::new();
    if !answer.thought.is_empty() {
        out += &format!("\n\n{}\n{}", paint.bold("thought:"), clean(&answer.thought));
    }
    let status = plain(&serde_json::json!(answer.status));
    let reason = if answer.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", answer.reason)
    };
    out += &format!(
        "\n\n{}\n{}\n",
        paint.bold("answered:"),
        paint.answer(&clean(&answer.text))
    );
    for option in &answer.options {
        out += &format!("  {:>10.4}  {}\n", option.logprob, clean(&option.text));
    }
    out += &format!("\nended {status}{}", clean(&reason));
    if !score.is_empty() {
        out += &format!(", score {score}");
    }
    out + "\n"
}

fn score_of(scores: &[ScoreRow], id: &str) -> String {
    let of: Vec<_> = scores
        .iter()
        .filter(|s| s.item == id)
        .map(|s| match s.score {
            Some(score) => format!("{score:.2} ({})", s.method),
            None => format!("- ({})", s.method),
        })
        .collect();
    of.join(", ")
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(s) => clean(s),
        other => clean(&other.to_string()),
    }
}

/// Model output is untrusted: nothing in it may move the cursor.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn shorten(text: &str, n: usize) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if one_line.chars().count() <= n {
        return one_line;
    }
    one_line.chars().take(n).chain("...".chars()).collect()
}

struct Paint {
    on: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.on {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    /// Marked also where there is no colour.
    fn evidence(&self, text: &str) -> String {
        if self.on {
            self.with("30;43", text)
        } else {
            format!(">>>{text}<<<")
        }
    }

    fn answer(&self, text: &str) -> String {
        self.with("36", text)
    }
}
