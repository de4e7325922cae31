//! NDJSON: one job a line; blank lines count as lines, not as jobs.

use super::{Pending, Piece, Place};

/// Cuts NDJSON into lines.
#[derive(Debug)]
pub struct LineSplitter {
    pending: Pending,
    line: usize,
}

impl Default for LineSplitter {
    fn default() -> Self {
        Self { pending: Pending::default(), line: 1 }
    }
}

impl LineSplitter {
    /// Takes the next chunk and hands out the lines that are complete with it.
    ///
    /// # Errors
    /// Whatever `each` says; nothing more is handed out then.
    pub fn feed<E>(&mut self, mut chunk: &[u8], mut each: impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            self.end_line(&chunk[..end], &mut each)?;
            chunk = &chunk[end + 1..];
        }
        self.pending.keep(chunk);
        Ok(())
    }

    /// The body has ended: the last line need not end with a line break.
    ///
    /// # Errors
    /// Whatever `each` says.
    pub fn finish<E>(mut self, mut each: impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        self.end_line(&[], &mut each)
    }

    fn end_line<E>(&mut self, part: &[u8], each: &mut impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        let place = Place::Line(self.line);
        self.line += 1;
        self.pending.complete(part, |text| {
            let text = text.trim_ascii();
            if text.is_empty() { Ok(()) } else { each(Piece { text, place }) }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn split(body: &str, chunk: usize) -> Vec<(String, Place)> {
        let mut found = Vec::new();
        let mut each = |piece: Piece<'_>| {
            found.push((String::from_utf8_lossy(piece.text).into_owned(), piece.place));
            Ok::<_, Infallible>(())
        };
        let mut splitter = LineSplitter::default();
        for chunk in body.as_bytes().chunks(chunk) {
            splitter.feed(chunk, &mut each).expect("never fails");
        }
        splitter.finish(&mut each).expect("never fails");
        found
    }

    #[test]
    fn lines_are_jobs_whatever_the_chunks() {
        let body = "{\"a\":1}\r\n\n  \n{\"b\":\n{\"ä\":2}";
        let expected = [("{\"a\":1}", 1), ("{\"b\":", 4), ("{\"ä\":2}", 5)].map(|(text, line)| (text.to_owned(), Place::Line(line)));
        for chunk in 1..=body.len() {
            assert_eq!(split(body, chunk), expected, "chunks of {chunk}");
        }
        assert!(split("", 1).is_empty() && split("\n\n", 1).is_empty());
    }
}
