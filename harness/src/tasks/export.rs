//! Questions as lines of text and answer, to train a model on.

use crate::Result;
use crate::filler::units;
use crate::item::{Place, Question, Scorer};

/// A line of the export.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Line {
    /// Instruction, document, question and the beginning of the answer.
    pub text: String,
    /// The answer, with the space before it.
    pub answer: String,
}

/// A question as a line, its document filled up to about this many tokens (of [`BYTES_PER_TOKEN`] bytes).
///
/// `None` for questions whose answer is free text.
///
/// # Errors
/// When the filler is a file that cannot be read.
///
/// ```
/// use fathom_harness::tasks::{export::export, novel};
/// let params = novel::Params { task: novel::Task::Claims, size: Default::default(), split: Default::default() };
/// let questions = novel::questions(params, 1, 1);
/// let line = export(&questions[0], 600)?.expect("an answer");
/// assert_eq!(line.answer, " true");
/// assert!(line.text.ends_with("The claim is"));
/// # Ok::<(), fathom_harness::Error>(())
/// ```
pub fn export(question: &Question, tokens: usize) -> Result<Option<Line>> {
    let answer = match &question.scorer {
        Scorer::Choice { options, correct } => options.get(*correct).cloned().unwrap_or_default(),
        Scorer::Claim { truth, .. } => truth.to_string(),
        Scorer::Ranking { order } => order.join(" > "),
        _ => return Ok(None),
    };
    let end = format!("\n\n{}\n\n{}", question.ask, question.answer_prefix);
    let fixed = question
        .pieces
        .iter()
        .map(|piece| piece.text.len())
        .sum::<usize>();
    let room =
        (tokens * BYTES_PER_TOKEN).saturating_sub(fixed + question.instruction.len() + end.len());
    let mut text = question.instruction.clone();
    let mut filler = units(&question.filler)?;
    let mut filled = 0;
    let mut fill = |text: &mut String, until: usize| {
        while filled < until {
            let Some(unit) = filler.next() else { break };
            let before = if text.ends_with('\n') {
                ""
            } else {
                unit.before
            };
            text.push_str(before);
            text.push_str(&unit.text);
            filled += before.len() + unit.text.len();
        }
    };
    for piece in &question.pieces {
        if let Place::Share(share) = piece.place {
            fill(&mut text, (share * room as f64) as usize);
        }
        let joint = if text.ends_with('\n') {
            piece.text.trim_start()
        } else {
            &piece.text
        };
        text.push_str(joint);
    }
    fill(&mut text, room);
    let text = text.trim_end().to_string() + &end;
    Ok(Some(Line {
        text: text.trim_end().to_string(),
        answer: format!(" {answer}"),
    }))
}

/// Bytes that count as a token here.
pub const BYTES_PER_TOKEN: usize = 4;

impl Line {
    /// The line as JSON.
    pub fn json(&self) -> String {
        serde_json::json!({ "text": self.text, "answer": self.answer }).to_string()
    }
}
