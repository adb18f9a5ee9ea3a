//! Which sentence of the filler stands before which piece.

use crate::filler::Unit;
use crate::item::{Piece, Place};
use crate::layout::text::Segment;

/// The pieces in document order, each with the share of the filler before it.
///
/// Shares never go back (a piece that would stand before its predecessor stands right after it). A piece at the
/// item's depth stands among the others where its depth is, behind those at the same share.
pub fn in_order(pieces: &[Piece], depth: Option<f64>) -> Vec<(&Piece, f64)> {
    let depth = depth.unwrap_or(0.5).clamp(0.0, 1.0);
    let mut order = Vec::with_capacity(pieces.len());
    let mut least = 0f64;
    for piece in pieces {
        let share = match piece.place {
            Place::Depth => {
                order.push((piece, depth, true));
                continue;
            }
            Place::Share(share) => share.clamp(0.0, 1.0),
            // Its target is set in tokens; here only the order matters.
            Place::Cell { .. } => least,
        };
        least = least.max(share);
        order.push((piece, least, false));
    }
    order.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.2.cmp(&b.2)));
    order
        .into_iter()
        .map(|(piece, share, _)| (piece, share))
        .collect()
}

/// Sentences with their tokens, and the tokens before each piece.
pub type Surroundings = (Vec<(Unit, usize)>, Vec<f64>);

/// Of a document in stretches (before each piece, and after the last), the sentences that have room: of each stretch the
/// same share of its tokens, those next to a piece. Behind them stands what may follow: the rest of the last stretch,
/// then `more`. Also the tokens before each piece.
pub fn around(
    stretches: Vec<Vec<(Unit, usize)>>,
    more: &[(Unit, usize)],
    room: usize,
) -> Surroundings {
    let tokens = |units: &[(Unit, usize)]| units.iter().map(|(_, n)| n).sum::<usize>();
    let all: usize = stretches.iter().map(|s| tokens(s)).sum();
    let share = if all <= room {
        1.0
    } else {
        room as f64 / all as f64
    };
    let last = stretches.len().saturating_sub(1);
    let (mut units, mut targets, mut sum) = (Vec::new(), Vec::new(), 0);
    for (i, mut stretch) in stretches.into_iter().enumerate() {
        let most = (tokens(&stretch) as f64 * share) as usize;
        let fits = |n: &mut usize, (_, c): &&(Unit, usize)| {
            *n += c;
            Some(*n <= most)
        };
        if i == last {
            units.append(&mut stretch);
        } else if i == 0 {
            let kept = stretch
                .iter()
                .rev()
                .scan(0, |n, u| fits(n, &u))
                .take_while(|&f| f)
                .count();
            units.extend(stretch.drain(stretch.len() - kept..));
        } else {
            let kept = stretch
                .iter()
                .scan(0, |n, u| fits(n, &u))
                .take_while(|&f| f)
                .count();
            units.extend(stretch.drain(..kept));
        }
        if i < last {
            sum = tokens(&units).max(sum);
            targets.push(sum as f64);
        }
    }
    units.extend(more.iter().cloned());
    (units, targets)
}

/// A plan: for every gap (before each piece, and after the last) its sentences; one gap ends open.
#[derive(Debug)]
pub struct Walk {
    /// End of each gap's sentences in the stream.
    ends: Vec<usize>,
    /// The gap whose end is chosen to make the count come out.
    cut: usize,
    /// Index of the first sentence of that gap that is left out of the plan.
    cut_at: usize,
    /// Tokens that the ending of that gap should have.
    pub open: usize,
    /// Sentences for the ending: those left out, then those that the plan has not reached.
    pub spare: Vec<usize>,
}

impl Walk {
    /// Takes sentences in order. A piece stands between two sentences where the filler before it is nearest to its
    /// target. All together have at most `room` tokens.
    ///
    /// The same plan several times, by the gap that ends open, the best first: the longest gap (of equals the last); where
    /// documents are cut at their end, the last gap, then the last long one, so that what stands before it stays as it is.
    /// None when a target lies well behind the room (a document cut before its last piece).
    pub fn plans(
        targets: &[f64],
        units: &[(Unit, usize)],
        room: usize,
        slack: usize,
        cut_last: bool,
    ) -> Vec<Self> {
        // Pieces were counted one by one: together they may have a few tokens more.
        if targets.iter().any(|&t| t > (room + slack) as f64) {
            return Vec::new();
        }
        let mut ends = Vec::with_capacity(targets.len() + 1);
        let mut sums = vec![0usize];
        let (mut next, mut sum) = (0, 0usize);
        for &target in targets.iter().chain([&f64::INFINITY]) {
            while let Some((_, n)) = units.get(next) {
                if sum + n > room || sum as f64 + *n as f64 / 2.0 > target {
                    break;
                }
                sum += n;
                next += 1;
            }
            ends.push(next);
            sums.push(sum);
        }
        let tokens = |gap: usize| sums[gap + 1] - sums[gap];
        let last = ends.len() - 1;
        let longest = (0..ends.len())
            .max_by_key(|&gap| tokens(gap))
            .unwrap_or(last);
        let last_long = (0..ends.len())
            .rev()
            .find(|&gap| tokens(gap) >= slack)
            .unwrap_or(longest);
        let mut gaps = if cut_last {
            vec![last, last_long, longest]
        } else {
            vec![longest, last_long, last]
        };
        gaps.dedup();
        let plan = |cut: usize| {
            let start = if cut == 0 { 0 } else { ends[cut - 1] };
            let mut cut_at = ends[cut];
            let mut open = room - sum;
            while cut_at > start && open < slack {
                cut_at -= 1;
                open += units[cut_at].1;
            }
            let spare = (cut_at..ends[cut])
                .chain(next..units.len().min(next + 64))
                .collect();
            Self {
                ends: ends.clone(),
                cut,
                cut_at,
                open,
                spare,
            }
        };
        gaps.into_iter().map(plan).collect()
    }

    /// The document, with this ending of the gap that was left open.
    pub fn segments<'a>(
        &self,
        pieces: &[(&'a Piece, f64)],
        units: &[(Unit, usize)],
        ending: &[Unit],
    ) -> Vec<Segment<'a>> {
        let mut segments = Vec::new();
        let mut start = 0;
        for (gap, &end) in self.ends.iter().enumerate() {
            let planned = if gap == self.cut { self.cut_at } else { end };
            segments.extend(
                units[start..planned]
                    .iter()
                    .map(|(unit, _)| Segment::Unit(unit.clone())),
            );
            if gap == self.cut {
                segments.extend(ending.iter().cloned().map(Segment::Unit));
            }
            start = end;
            if let Some((piece, _)) = pieces.get(gap) {
                segments.push(Segment::Piece(piece));
            }
        }
        segments
    }
}
