//! Server-sent events: `data:` lines, comments, blank lines; bounded memory (HTML standard, 9.2).

use std::io::{BufRead, BufReader, Read};

/// Bytes of one line.
const LINE: u64 = 8 << 20;

/// Events of a body.
#[derive(Debug)]
pub struct Events<R> {
    body: BufReader<R>,
    left: u64,
}

impl<R: Read> Events<R> {
    /// Of a body of which at most so many bytes are read.
    pub fn new(body: R, most: u64) -> Self {
        Self {
            body: BufReader::new(body),
            left: most,
        }
    }

    /// Data of the next event; `None` at the end of the body. Comments and other fields are passed over.
    ///
    /// # Errors
    /// When the connection breaks, a line has no end, or there is more than was to be read.
    pub fn next(&mut self) -> std::io::Result<Option<String>> {
        let mut data: Option<String> = None;
        loop {
            let mut line = Vec::new();
            let most = LINE.min(self.left);
            let n = (&mut self.body).take(most).read_until(b'\n', &mut line)?;
            self.left -= n as u64;
            if n == 0 && self.left == 0 || n as u64 == LINE {
                let why = "a stream longer than is read of any";
                return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
            }
            if n == 0 {
                return Ok(data);
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                if data.is_some() {
                    return Ok(data);
                }
            } else if let Some(text) = line.strip_prefix("data:") {
                let text = text.strip_prefix(' ').unwrap_or(text);
                match &mut data {
                    None => data = Some(text.to_owned()),
                    Some(data) => {
                        data.push('\n');
                        data.push_str(text);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, most: u64) -> std::io::Result<Vec<String>> {
        let mut events = Events::new(text.as_bytes(), most);
        let mut all = Vec::new();
        while let Some(event) = events.next()? {
            all.push(event);
        }
        Ok(all)
    }

    #[test]
    fn comments_and_line_ends_are_as_the_standard_has_them() -> std::io::Result<()> {
        let text = ": PROCESSING\n\ndata: {\"a\":1}\r\n\r\nevent: x\ndata:b\ndata: c\n\n\n: x\ndata: [DONE]";
        assert_eq!(all(text, 1 << 20)?, ["{\"a\":1}", "b\nc", "[DONE]"]);
        Ok(())
    }

    #[test]
    fn what_has_no_end_is_given_up() {
        assert!(all(&"data: x\n\n".repeat(100), 500).is_err());
        assert!(all(&"x".repeat(9 << 20), 1 << 30).is_err());
    }
}
