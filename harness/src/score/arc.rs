//! Free text on the course of a life, against the events that were generated.

use super::Judged;
use super::choice::first_words;

/// Scores a description against the events of an arc, without a judge.
///
/// - recall `r`: share of the events of which any phrase occurs (as whole words, whatever the case);
/// - precision `p`: events found, over events found and phrases found that never happened;
/// - order `o`: (tau + 1) / 2 with Kendall's tau of the places at which the found events are first mentioned; 1 where
///   fewer than two are found;
/// - score: F1 of `r` and `p`, times `o`. So retelling everything that might have happened, or in any order, does not pay.
///
/// Detail: `recall`, `precision`, `tau`, `f1`.
pub fn arc(answer: &str, events: &[Vec<String>], never: &[String]) -> Judged {
    let text = answer.to_lowercase();
    let place = |phrases: &[String]| {
        phrases
            .iter()
            .filter_map(|p| first_words(&text, &p.to_lowercase()))
            .min()
    };
    let places: Vec<usize> = events.iter().filter_map(|phrases| place(phrases)).collect();
    let found = places.len() as f64;
    let wrong = never
        .iter()
        .filter(|p| first_words(&text, &p.to_lowercase()).is_some())
        .count() as f64;
    let recall = if events.is_empty() {
        0.0
    } else {
        found / events.len() as f64
    };
    let precision = if found + wrong == 0.0 {
        0.0
    } else {
        found / (found + wrong)
    };
    let f1 = if recall + precision == 0.0 {
        0.0
    } else {
        2.0 * recall * precision / (recall + precision)
    };
    let tau = tau_of_places(&places);
    Judged::of(f1 * (tau + 1.0) / 2.0)
        .with("recall", recall)
        .with("precision", precision)
        .with("tau", tau)
        .with("f1", f1)
}

/// Kendall's tau (b: without the pairs at one place) of places that should ascend; 1 where nothing can be out of order.
fn tau_of_places(places: &[usize]) -> f64 {
    let (mut sum, mut pairs) = (0i64, 0i64);
    for i in 0..places.len() {
        for j in i + 1..places.len() {
            if places[i] != places[j] {
                pairs += 1;
                sum += if places[i] < places[j] { 1 } else { -1 };
            }
        }
    }
    if pairs == 0 {
        1.0
    } else {
        sum as f64 / pairs as f64
    }
}
