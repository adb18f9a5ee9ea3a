//! The text of an answer as its tokens come: nothing is given out that a later token could still change.

/// Bytes of tokens become text; stop strings end it. The pieces, joined, are the same however the bytes arrive.
#[derive(Clone, Debug, Default)]
pub struct TextStream {
    stops: Vec<String>,
    pending: Vec<u8>,
    settled: usize,
}

impl TextStream {
    /// Before the first token. An empty stop string stops nothing.
    pub fn new(stops: &[String]) -> Self {
        Self {
            stops: stops.iter().filter(|s| !s.is_empty()).cloned().collect(),
            ..Self::default()
        }
    }

    /// Takes a token's bytes. Returns the text that is settled now, and whether a stop string has ended it: the one that
    /// is complete first, and of two that end together the longer; the text before it has been given out then.
    ///
    /// ```
    /// use fathom_harness::serve::text::TextStream;
    /// let mut text = TextStream::new(&["\n\n".to_owned()]);
    /// assert_eq!(text.push("a\n".as_bytes()), ("a".to_owned(), false));
    /// assert_eq!(text.push("b\n".as_bytes()), ("\nb".to_owned(), false));
    /// assert_eq!(text.push("\nc".as_bytes()), (String::new(), true));
    /// ```
    pub fn push(&mut self, bytes: &[u8]) -> (String, bool) {
        self.pending.extend_from_slice(bytes);
        if let Some(at) = cut(&self.pending, &self.stops) {
            let text = self.settle(at);
            self.pending.clear();
            return (text, true);
        }
        let held = self.stops.iter().map(|s| overlap(&self.pending, s)).max();
        let at = self.pending.len() - held.unwrap_or(0).max(incomplete(&self.pending));
        (self.settle(at), false)
    }

    /// What was held back, when no more tokens come.
    pub fn finish(&mut self) -> String {
        self.settle(self.pending.len())
    }

    /// Bytes given out so far.
    pub fn settled(&self) -> usize {
        self.settled
    }

    fn settle(&mut self, at: usize) -> String {
        self.settled += at;
        let bytes: Vec<u8> = self.pending.drain(..at).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Where the first stop string begins.
fn cut(bytes: &[u8], stops: &[String]) -> Option<usize> {
    let place = |stop: &String| {
        let mut windows = bytes.windows(stop.len());
        let begin = windows.position(|window| window == stop.as_bytes())?;
        Some((begin + stop.len(), begin))
    };
    stops.iter().filter_map(place).min().map(|(_, begin)| begin)
}

/// Bytes at the end that `text` could begin with.
fn overlap(bytes: &[u8], text: &str) -> usize {
    let longest = bytes.len().min(text.len() - 1);
    (1..=longest)
        .rev()
        .find(|n| bytes.ends_with(&text.as_bytes()[..*n]))
        .unwrap_or(0)
}

/// Bytes at the end that begin a character and do not end it.
fn incomplete(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let Some(start) = tail.iter().rposition(|b| !(0x80..0xc0).contains(b)) else {
        return 0;
    };
    match std::str::from_utf8(&tail[start..]) {
        Err(e) if e.error_len().is_none() => tail.len() - start,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8], stops: &[String]) -> String {
        let end = cut(bytes, stops).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    proptest! {
        #[test]
        fn pieces_joined_are_the_text_of_all_bytes(
            bytes in prop::collection::vec(prop::sample::select(&b"ab\xc3\xa9\xf0\x9f\x98\x80\xff\n"[..]), 0..40),
            cuts in prop::collection::vec(1usize..6, 1..20),
        ) {
            let stops = ["ab\n".to_owned(), "\u{e9}a".to_owned(), "b".to_owned()];
            let mut text = TextStream::new(&stops);
            let mut said = String::new();
            let (mut rest, mut stopped) = (&bytes[..], false);
            for n in cuts.iter().cycle() {
                let (head, tail) = rest.split_at((*n).min(rest.len()));
                let (piece, ended) = text.push(head);
                said += &piece;
                rest = tail;
                stopped = ended;
                if rest.is_empty() || ended {
                    break;
                }
            }
            if !stopped {
                said += &text.finish();
            }
            prop_assert_eq!(said, whole(&bytes, &stops));
        }
    }

    #[test]
    fn a_character_is_given_out_whole() {
        let mut text = TextStream::new(&[]);
        assert_eq!(text.push(&[b'x', 0xf0, 0x9f]).0, "x");
        assert_eq!((text.push(&[0x98]).0, text.settled()), (String::new(), 1));
        assert_eq!(text.push(&[0x80]).0, "\u{1f600}");
        assert_eq!(text.push(&[0xe2]).0, "");
        assert_eq!(text.finish(), "\u{fffd}");
    }
}
