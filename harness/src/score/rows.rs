//! Items and answers to rows of `scores.csv`.

use super::{chance, chance_of_options, defect, judge, likeliest, options};
use crate::item::{Context, Scorer};
use crate::record::{Answer, ItemRecord, ScoreRow, Status};

/// The row of an item and what came of it.
///
/// An item with options is judged by their likelihood where the answer has them, else by its text. Truncated and refused
/// answers had their chance and score 0; failed and skipped items have no score. Of claims, `pair=..` in the detail names
/// the pair at this length, of which both must be right.
pub fn row(record: &ItemRecord, answer: &Answer) -> ScoreRow {
    let (question, item) = (&record.question, &record.item);
    let by_likelihood = if record.options.is_empty() {
        None
    } else {
        options(&question.scorer, &question.id)
    };
    let (mut score, mut detail) = (None, String::new());
    match answer.status {
        Status::Failed | Status::Skipped => {}
        Status::Refused => score = Some(0.0),
        // Options are complete whatever became of the text beside them.
        Status::Truncated if by_likelihood.is_none() => score = Some(0.0),
        Status::Truncated | Status::Scored => {
            let judged = match &by_likelihood {
                Some((_, correct)) => likeliest(&answer.options, *correct),
                None => judge(&question.scorer, &answer.text),
            };
            score = Some(judged.score);
            detail = judged.detail;
        }
    }
    let context = match item.context {
        Context::None => "none".to_owned(),
        Context::Short => "short".to_owned(),
        Context::Length(n) => n.to_string(),
    };
    if let Scorer::Claim { pair, .. } = &question.scorer {
        let space = if detail.is_empty() { "" } else { " " };
        detail = format!("{detail}{space}pair={pair}@{context}#{}", item.repeat);
    }
    let text = !answer.ids.is_empty() || !answer.text.is_empty();
    let generated = by_likelihood.is_none() || text;
    let judged_text = matches!(answer.status, Status::Scored | Status::Truncated) && generated;
    ScoreRow {
        item: item.id.clone(),
        suite: question.suite.clone(),
        task: question.task.clone(),
        context,
        depth: item.depth,
        cluster: question.cluster.clone(),
        method: if by_likelihood.is_some() {
            "likelihood"
        } else {
            "generate"
        }
        .to_owned(),
        status: match answer.status {
            // What is judged is complete: the text beside it says nothing of the score.
            Status::Truncated if by_likelihood.is_some() => Status::Scored,
            status => status,
        },
        score,
        chance: by_likelihood.map_or_else(
            || chance(&question.scorer),
            |(all, _)| chance_of_options(all.len()),
        ),
        defect: if judged_text {
            defect(&answer.text).unwrap_or("").to_owned()
        } else {
            String::new()
        },
        detail,
    }
}
