//! Cuts the body of a batch into its jobs while it arrives, so that no more than one job's text is held at a time.
//!
//! It is fed chunks as they come and hands out each complete job's text. It looks at no more of JSON than it takes to find
//! where a value ends; what is between is checked by whoever reads the job.

pub mod json;
mod lines;

pub use self::{json::JsonSplitter, lines::LineSplitter};

/// One job's text, and where it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The text, complete.
    pub text: &'a [u8],
    /// Where it begins.
    pub place: Place,
}

/// A place in a body, in the words of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Bytes before it.
    Byte(usize),
    /// Number of the line, from 1.
    Line(usize),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Byte(offset) => write!(f, "byte {offset}"),
            Self::Line(number) => write!(f, "line {number}"),
        }
    }
}

/// Collects a piece that may arrive in several chunks; one that arrives whole is not copied.
#[derive(Debug, Default)]
struct Pending(Vec<u8>);

impl Pending {
    /// Keeps the start of a piece whose rest is in a later chunk.
    fn keep(&mut self, part: &[u8]) {
        self.0.extend_from_slice(part);
    }

    /// Gives the piece that ends with this part.
    fn complete<T>(&mut self, part: &[u8], take: impl FnOnce(&[u8]) -> T) -> T {
        if self.0.is_empty() {
            return take(part);
        }
        self.0.extend_from_slice(part);
        let taken = take(&self.0);
        self.0.clear();
        taken
    }
}
