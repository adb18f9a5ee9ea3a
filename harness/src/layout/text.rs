//! Pieces and filler as one text.

use std::ops::Range;

use crate::filler::Unit;
use crate::item::{Piece, Role};

/// A part of a document.
#[derive(Clone, Debug)]
pub enum Segment<'a> {
    /// A piece of the question.
    Piece(&'a Piece),
    /// A sentence of filler.
    Unit(Unit),
}

/// The document and the byte ranges of its evidence, each without the white space at its ends.
///
/// Between a piece and its neighbour stands `joint`, unless either brings white space of its own.
pub fn join(segments: &[Segment], joint: &str) -> (String, Vec<Range<usize>>) {
    let mut out = String::new();
    let mut evidence = Vec::new();
    let mut after_piece = false;
    for segment in segments {
        match segment {
            Segment::Piece(piece) => {
                // Two paragraphs in a row are one empty line apart, not two.
                let text = if out.is_empty() || out.ends_with("\n\n") {
                    piece.text.trim_start()
                } else {
                    &piece.text
                };
                if !out.is_empty()
                    && !out.ends_with(char::is_whitespace)
                    && !text.starts_with(char::is_whitespace)
                {
                    out.push_str(joint);
                }
                let start = out.len() + text.len() - text.trim_start().len();
                out.push_str(text);
                if piece.role == Role::Evidence {
                    evidence.push(start..start + text.trim().len());
                }
                after_piece = true;
            }
            Segment::Unit(unit) => {
                if !out.is_empty() && !out.ends_with(char::is_whitespace) {
                    out.push_str(if after_piece && unit.before.is_empty() {
                        joint
                    } else {
                        unit.before
                    });
                }
                out.push_str(&unit.text);
                after_piece = false;
            }
        }
    }
    (out, evidence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Place;

    #[test]
    fn white_space_is_neither_lost_nor_doubled() {
        let piece = |text: &str, role| Piece {
            text: text.into(),
            role,
            place: Place::Share(0.0),
        };
        let unit = |text: &str, before| {
            Segment::Unit(Unit {
                text: text.into(),
                before,
                again: false,
            })
        };
        let (a, b) = (
            piece("Needle.", Role::Evidence),
            piece("\n\nScene two.\n\n", Role::Evidence),
        );
        let parts = [
            unit("One.", "\n\n"),
            Segment::Piece(&a),
            unit("Two.", "\n\n"),
            Segment::Piece(&b),
            Segment::Piece(&b),
            unit("Three.", " "),
        ];
        let (text, evidence) = join(&parts, " ");
        assert_eq!(
            text,
            "One. Needle.\n\nTwo.\n\nScene two.\n\nScene two.\n\nThree."
        );
        let found: Vec<&str> = evidence.into_iter().map(|r| &text[r]).collect();
        assert_eq!(found, ["Needle.", "Scene two.", "Scene two."]);
    }
}
