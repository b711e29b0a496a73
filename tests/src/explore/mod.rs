//! Walks a machine through every sequence of inputs up to a length, and checks each step.
//!
//! A [`Subject`] is a machine together with the world around it and a checker that has seen all that went
//! in and came out. From a state that a short story leads to, [`Explorer::explore`] tries every input, from
//! each state that follows every input again, and so on. A state that was seen before with as much way to
//! go is not walked through twice: two states are the same if machine, world and checker all are.
//!
//! What breaks a rule is shortened as far as it stays broken and comes back as a [`Counterexample`]: a list
//! of inputs that can be pasted into a test.

pub mod fleet;
pub mod shard;

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A machine and its world, as far as the explorer must know it.
pub trait Subject: Sized {
    /// One thing that may happen to it.
    type Input: Copy + fmt::Debug + PartialEq;

    /// A copy that goes its own way.
    #[must_use]
    fn fork(&self) -> Self;

    /// What may happen now.
    fn inputs(&self) -> Vec<Self::Input>;

    /// Lets it happen, and checks what follows.
    ///
    /// # Errors
    /// The rule that was broken.
    fn apply(&mut self, input: Self::Input) -> Result<(), String>;

    /// Names the state: machine, world and the checker's memory. What has the same name must have the same
    /// future.
    fn key(&self) -> u128;

    /// Checks what can only be seen by going on from here in several ways. Done once for each state.
    ///
    /// # Errors
    /// The rule that was broken.
    fn probe(&self) -> Result<(), String>;
}

/// A sequence of inputs after which a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Counterexample<I> {
    /// All inputs from a new machine on.
    pub inputs: Vec<I>,
    /// The rule, and how it was broken.
    pub what: String,
}

impl<I: fmt::Debug> fmt::Display for Counterexample<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nafter {:?}", self.what, self.inputs)
    }
}

/// How far a walk went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Walk {
    /// How many inputs were given.
    pub steps: u64,
    /// How many different states were seen for the first time.
    pub states: u64,
}

/// Remembers the states seen, over any number of walks.
#[derive(Debug, Default)]
pub struct Explorer {
    /// With how many inputs still to give each state was walked through.
    seen: HashMap<u128, u32>,
    steps: u64,
}

impl Explorer {
    /// Gives every sequence of up to `depth` inputs to what `story` leads to.
    ///
    /// # Errors
    /// The first sequence after which a rule is broken, shortened.
    pub fn explore<S: Subject>(
        &mut self,
        new: impl Fn() -> S,
        story: &[S::Input],
        depth: u32,
    ) -> Result<Walk, Counterexample<S::Input>> {
        let (steps, states) = (self.steps, self.seen.len());
        let mut path = story.to_vec();
        let result = play(&new, story).map_err(Into::into).and_then(|root| {
            self.arrive(&root, depth, &mut path)
                .map_err(|what| Found(what, path.clone()))
        });
        match result {
            Ok(()) => Ok(Walk {
                steps: self.steps - steps,
                states: (self.seen.len() - states) as u64,
            }),
            Err(Found(what, inputs)) => Err(shorten(&new, inputs, what)),
        }
    }

    /// On an error `path` is left as the way to it.
    fn arrive<S: Subject>(
        &mut self,
        state: &S,
        left: u32,
        path: &mut Vec<S::Input>,
    ) -> Result<(), String> {
        let key = state.key();
        match self.seen.get(&key) {
            Some(before) if *before >= left => return Ok(()),
            Some(_) => {}
            None => state.probe()?,
        }
        self.seen.insert(key, left);
        if left == 0 {
            return Ok(());
        }
        for input in state.inputs() {
            path.push(input);
            let mut next = state.fork();
            self.steps += 1;
            next.apply(input)?;
            self.arrive(&next, left - 1, path)?;
            path.pop();
        }
        Ok(())
    }
}

/// A broken rule and the way to it.
struct Found<I>(String, Vec<I>);

impl<I> From<Counterexample<I>> for Found<I> {
    fn from(found: Counterexample<I>) -> Self {
        Self(found.what, found.inputs)
    }
}

/// Gives these inputs to a new machine.
///
/// # Errors
/// The rule that was broken on the way, and by which of the inputs.
pub fn play<S: Subject>(
    new: impl Fn() -> S,
    inputs: &[S::Input],
) -> Result<S, Counterexample<S::Input>> {
    let mut subject = new();
    for (given, input) in inputs.iter().enumerate() {
        let broken = |what| Counterexample {
            inputs: inputs[..=given].to_vec(),
            what,
        };
        if !subject.inputs().contains(input) {
            return Err(broken(format!("{input:?} cannot happen here")));
        }
        subject.apply(*input).map_err(broken)?;
    }
    Ok(subject)
}

/// What is broken after exactly these inputs; `None` if nothing is, or one of them cannot happen.
fn broken_by<S: Subject>(new: &impl Fn() -> S, inputs: &[S::Input]) -> Option<String> {
    let mut subject = new();
    for input in inputs {
        if !subject.inputs().contains(input) {
            return None;
        }
        if let Err(what) = subject.apply(*input) {
            return Some(what);
        }
    }
    subject.probe().err()
}

/// Leaves out what is not needed to break a rule.
fn shorten<S: Subject>(
    new: &impl Fn() -> S,
    mut inputs: Vec<S::Input>,
    mut what: String,
) -> Counterexample<S::Input> {
    let mut at = inputs.len();
    while at > 0 {
        at -= 1;
        let mut fewer = inputs.clone();
        fewer.remove(at);
        if let Some(still) = broken_by(new, &fewer) {
            (inputs, what) = (fewer, still);
            at = inputs.len().min(at + 1);
        }
    }
    Counterexample { inputs, what }
}

/// A name of 128 bits for a state: by chance, two of a million states have the same with odds of one to
/// 10²⁶.
#[must_use]
pub fn key_of(text: &str, rest: &impl Hash) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        hasher.write(text.as_bytes());
        rest.hash(&mut hasher);
        hasher.finish()
    };
    u128::from(half(1)) << 64 | u128::from(half(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts up to nine; the rule is that it never gets to the limit.
    #[derive(Clone, Copy)]
    struct Counter {
        value: u32,
        limit: u32,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Press {
        Up,
        Down,
        Nothing,
    }

    impl Subject for Counter {
        type Input = Press;
        fn fork(&self) -> Self {
            *self
        }
        fn inputs(&self) -> Vec<Press> {
            let mut all = vec![Press::Nothing, Press::Up];
            all.extend((self.value > 0).then_some(Press::Down));
            all
        }
        fn apply(&mut self, input: Press) -> Result<(), String> {
            match input {
                Press::Up => self.value += 1,
                Press::Down => self.value -= 1,
                Press::Nothing => {}
            }
            if self.value == self.limit {
                return Err("too high".to_owned());
            }
            Ok(())
        }
        fn key(&self) -> u128 {
            key_of("", &self.value)
        }
        fn probe(&self) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn every_state_in_reach_is_seen_once() {
        let mut explorer = Explorer::default();
        let walk = explorer.explore(|| Counter { value: 0, limit: 9 }, &[], 4);
        assert_eq!(walk.unwrap().states, 5);
        let walk = explorer.explore(|| Counter { value: 0, limit: 9 }, &[Press::Up], 5);
        assert_eq!(walk.unwrap().states, 2);
    }

    #[test]
    fn a_counterexample_is_as_short_as_can_be() {
        let mut explorer = Explorer::default();
        let story = [Press::Up, Press::Nothing, Press::Down, Press::Up];
        let found = explorer
            .explore(|| Counter { value: 0, limit: 3 }, &story, 5)
            .unwrap_err();
        assert_eq!(found.inputs, [Press::Up; 3]);
        assert_eq!(found.to_string(), "too high\nafter [Up, Up, Up]");
    }

    #[test]
    fn what_cannot_happen_is_no_story() {
        let new = || Counter { value: 0, limit: 9 };
        assert!(play(new, &[Press::Down]).is_err());
        assert_eq!(play(new, &[Press::Up, Press::Up]).unwrap().value, 2);
    }
}
