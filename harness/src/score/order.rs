//! Rankings.

use super::choice::first_words;

/// The labels of an answer in their order, each at its first place.
///
/// Where the answer has a line with two or more `>`, only the last such line is read. Labels that are not there are left
/// out; one of a single letter is found in its own case only.
///
/// ```
/// use fathom_harness::score::parse_order;
/// let labels: Vec<String> = ["A", "B", "C"].map(String::from).to_vec();
/// assert_eq!(parse_order("A good question.\nB > A > C", &labels), ["B", "A", "C"]);
/// ```
pub fn parse_order(answer: &str, labels: &[String]) -> Vec<String> {
    let chain = answer
        .lines()
        .rev()
        .find(|line| line.matches('>').count() >= labels.len().saturating_sub(1).clamp(1, 2));
    let text = chain.unwrap_or(answer).replace('*', "");
    let lower = text.to_lowercase();
    let place = |label: &String| {
        // A label of one letter is no article.
        if label.chars().count() == 1 {
            first_words(&text, label)
        } else {
            first_words(&lower, &label.to_lowercase())
        }
    };
    let mut found: Vec<(usize, &String)> = labels
        .iter()
        .filter_map(|label| Some((place(label)?, label)))
        .collect();
    found.sort();
    found.into_iter().map(|(_, label)| label.clone()).collect()
}

/// Kendall's tau of a given order against the right one (Kendall 1938): agreeing pairs less disagreeing ones, over all
/// pairs of the right order. A pair of which a label is missing neither agrees nor disagrees, so that leaving labels out
/// is never better than guessing.
///
/// ```
/// use fathom_harness::score::kendall_tau;
/// let order = |s: &str| s.split(' ').map(String::from).collect::<Vec<_>>();
/// assert!((kendall_tau(&order("a c b"), &order("a b c")) - 1.0 / 3.0).abs() < 1e-12);
/// assert_eq!(kendall_tau(&[], &order("a b c")), 0.0);
/// ```
pub fn kendall_tau(given: &[String], right: &[String]) -> f64 {
    let place: Vec<Option<usize>> = right
        .iter()
        .map(|label| given.iter().position(|g| g == label))
        .collect();
    let (mut sum, mut pairs) = (0i64, 0i64);
    for i in 0..place.len() {
        for j in i + 1..place.len() {
            pairs += 1;
            if let (Some(a), Some(b)) = (place[i], place[j]) {
                sum += if a < b { 1 } else { -1 };
            }
        }
    }
    if pairs == 0 {
        0.0
    } else {
        sum as f64 / pairs as f64
    }
}

/// NDCG at `k` (Järvelin and Kekäläinen 2002, with gain `n - rank` and discount log2(place + 1)) of a given order.
pub fn ndcg(given: &[String], right: &[String], k: usize) -> f64 {
    let gain = |label: &String| {
        right
            .iter()
            .position(|r| r == label)
            .map_or(0, |rank| right.len() - rank)
    };
    let sum = |order: &[String]| -> f64 {
        order
            .iter()
            .take(k)
            .enumerate()
            .map(|(i, label)| gain(label) as f64 / (i as f64 + 2.0).log2())
            .sum()
    };
    let best = sum(right);
    if best == 0.0 { 0.0 } else { sum(given) / best }
}
