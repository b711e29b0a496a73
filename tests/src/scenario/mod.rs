//! Scenarios: what an emulated gateway does to its clients, written as data.
//!
//! A scenario is a list of steps, *when this happens, do that*, and a few settings. The format is
//! described in `docs/scenarios.md`; what a step may wait for is in [`When`], what it may do in
//! [`Effect`].

mod builtin;
mod effect;
mod setup;
mod when;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use effect::{Damage, Effect, Ending, Level, ListenerMode, RestFault};
pub use setup::Setup;
pub use when::{Listener, Nth, Selector, Times, When};

/// A named list of steps, with settings for the server they are played on.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Scenario {
    /// What to call it.
    pub name: String,
    /// One sentence for people.
    pub about: String,
    /// Settings that differ from the server's own.
    pub setup: Setup,
    /// Answers of the REST side, one a request, before it answers normally.
    pub rest: Vec<RestFault>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// One step: when `when` happens on a connection that `on` selects, do `do`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Step {
    /// What must happen.
    pub when: When,
    /// On which connections (all).
    #[serde(default)]
    pub on: Selector,
    /// What to do, one after the other.
    #[serde(rename = "do", default)]
    pub effects: Vec<Effect>,
    /// Leave out what the server would have done itself at this point.
    #[serde(default)]
    pub instead: bool,
    /// How often this step may be played in all (once).
    #[serde(default)]
    pub times: Times,
    /// How likely it is played each time it could be (1: always).
    #[serde(default = "certain")]
    pub chance: f64,
}

fn certain() -> f64 {
    1.0
}

impl Step {
    /// A step for every connection, played once.
    #[must_use]
    pub fn new(when: When, effects: impl Into<Vec<Effect>>) -> Self {
        Self {
            when,
            on: Selector::default(),
            effects: effects.into(),
            instead: false,
            times: Times::default(),
            chance: 1.0,
        }
    }

    /// Only on the connections `on` selects.
    #[must_use]
    pub fn on(mut self, on: Selector) -> Self {
        self.on = on;
        self
    }

    /// Instead of what the server does by itself.
    #[must_use]
    pub fn instead(mut self) -> Self {
        self.instead = true;
        self
    }

    /// At most so often.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Times::AtMost(times);
        self
    }

    /// Each time.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = Times::Always;
        self
    }

    /// With this probability.
    #[must_use]
    pub fn chance(mut self, chance: f64) -> Self {
        self.chance = chance;
        self
    }
}

/// Why a scenario could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file could not be read.
    #[error("the scenario {path} could not be read: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a scenario.
    #[error("this is not a scenario: {0}")]
    Malformed(#[from] serde_json::Error),
    /// There is no built-in scenario of that name.
    #[error("there is no scenario named {0:?}; there are: {known}", known = Scenario::NAMES.join(", "))]
    Unknown(String),
}

impl Scenario {
    /// The names [`Scenario::named`] knows; `random_cuts` takes a number, as in `random_cuts:30`.
    pub const NAMES: &'static [&'static str] = &["quiet", "newcomer", "stormy", "random_cuts"];

    /// A scenario of these steps and nothing else.
    #[must_use]
    pub fn of(steps: impl Into<Vec<Step>>) -> Self {
        Self {
            steps: steps.into(),
            ..Self::default()
        }
    }

    /// A built-in scenario.
    ///
    /// # Errors
    /// When no built-in scenario has that name.
    pub fn named(name: &str) -> Result<Self, ScenarioError> {
        builtin::named(name).ok_or_else(|| ScenarioError::Unknown(name.to_owned()))
    }

    /// Reads a scenario from JSON.
    ///
    /// # Errors
    /// When the text is not JSON or not a scenario; unknown keys are refused.
    pub fn from_json(text: &str) -> Result<Self, ScenarioError> {
        Ok(serde_json::from_str(text)?)
    }

    /// Reads a scenario file.
    ///
    /// # Errors
    /// When the file cannot be read or holds no scenario.
    pub fn from_file(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_json(&text)
    }

    /// A built-in scenario if `what` names one, else the scenario file at that path.
    ///
    /// # Errors
    /// When the file cannot be read or holds no scenario.
    pub fn named_or_file(what: &str) -> Result<Self, ScenarioError> {
        Self::named(what).or_else(|_| Self::from_file(Path::new(what)))
    }
}
