//! The inputs of the targets that play: a setup, and operations.

use arbitrary::{Arbitrary, Result, Unstructured};

/// At most so many operations.
const OPS: usize = 200;

/// What a play is about and what happens in it.
#[derive(Debug)]
pub struct Plot<S, O> {
    pub(crate) setup: S,
    pub(crate) ops: Vec<O>,
}

impl<'a, S: Arbitrary<'a>, O: Arbitrary<'a>> Arbitrary<'a> for Plot<S, O> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let setup = u.arbitrary()?;
        // As many as the rest of the input holds.
        let next = || (!u.is_empty()).then(|| u.arbitrary().ok()).flatten();
        let ops = std::iter::from_fn(next).take(OPS).collect();
        Ok(Self { setup, ops })
    }
}
