//! One pass over received bytes: runs of messages that stay as they are go out in one copy, and
//! what the session writes itself goes between them. No key outlives it.

use super::carriers::Keys;
use crate::shares::{Burst, Shares};

/// A cursor over received bytes and the buffer that they go to.
pub(super) struct Splice<'i, 'o> {
    input: &'i [u8],
    /// Where the run begins that is to be copied.
    from: usize,
    /// Where the cursor stands: the run's end.
    at: usize,
    out: &'o mut Vec<u8>,
    /// What the pass seals and opens cells with: that of the request that needed keys last.
    pub(super) burst: Option<Burst>,
}

impl<'i, 'o> Splice<'i, 'o> {
    /// Begins at the start of `input`.
    pub(super) fn new(input: &'i [u8], out: &'o mut Vec<u8>) -> Self {
        Self { input, from: 0, at: 0, out, burst: None }
    }

    /// The bytes at the cursor and behind it.
    pub(super) fn rest(&self) -> &'i [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    /// How much waits to be written, with the run.
    pub(super) fn waiting(&self) -> usize {
        self.out.len() + self.at - self.from
    }

    /// Lets the next `count` bytes pass as they are.
    pub(super) fn pass(&mut self, count: usize) {
        self.at = self.input.len().min(self.at + count);
    }

    /// Takes the next `count` bytes away and returns the buffer to write in their place.
    pub(super) fn replace(&mut self, count: usize) -> &mut Vec<u8> {
        self.copy();
        self.pass(count);
        self.from = self.at;
        self.out
    }

    /// The same, with the burst of a request's keys.
    pub(super) fn replace_with_keys(
        &mut self,
        count: usize,
        keys: &Keys,
        shares: &Shares,
    ) -> (&mut Vec<u8>, &mut Burst) {
        self.replace(count);
        (self.out, keys.burst(shares, &mut self.burst))
    }

    /// Makes room for the rest at once, where what takes its place is about as long: a buffer that grows step by
    /// step is copied, and wiped where it was, at each.
    pub(super) fn make_room(&mut self) {
        self.out.reserve(self.input.len() - self.from);
    }

    /// Ends the pass; returns how many bytes of the input are done with.
    pub(super) fn finish(mut self) -> usize {
        self.copy();
        self.at
    }

    fn copy(&mut self) {
        self.out.extend_from_slice(self.input.get(self.from..self.at).unwrap_or_default());
        self.from = self.at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order() {
        let mut out = Vec::new();
        let mut splice = Splice::new(b"abcdef", &mut out);
        splice.pass(2);
        splice.replace(1).push(b'X');
        splice.pass(1);
        assert_eq!((splice.rest(), splice.waiting()), (&b"ef"[..], 4));
        assert_eq!(splice.finish(), 4);
        assert_eq!(out, b"abXd");
    }
}
