//! The payloads the emulated gateway streams, and how often each of them comes up.
//!
//! A file is a whole envelope, `{"t":…,"s":…,"op":0,"d":…}`; its `s` is replaced with the number
//! the session has reached, everything else goes out byte for byte.

mod builtin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::rng::Rng;

/// One payload: an event name and its body.
#[derive(Clone, Debug)]
pub struct Payload {
    file: String,
    name: Arc<str>,
    body: Arc<str>,
}

impl Payload {
    /// The file's name without its ending.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The event name, `t`.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The body, `d`, as it stands in the file.
    #[must_use]
    pub fn body(&self) -> &Arc<str> {
        &self.body
    }
}

/// Why a corpus could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// A file or the folder could not be read.
    #[error("the corpus file {path} could not be read: {source}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is no dispatch envelope, or `mix.json` no table of weights.
    #[error("the corpus file {file} is not as it should be: {source}")]
    Malformed {
        /// Which one.
        file: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// No payload has a weight above zero.
    #[error("the corpus has no payload with a weight above zero")]
    Empty,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    t: String,
    #[serde(borrow)]
    d: &'a RawValue,
}

#[derive(Deserialize)]
struct Mix {
    weights: BTreeMap<String, f64>,
}

/// A set of payloads with weights.
#[derive(Clone, Debug)]
pub struct Corpus {
    payloads: Vec<(Payload, f64)>,
}

impl Corpus {
    /// The corpus that ships inside the binary.
    ///
    /// # Panics
    /// Never: a test reads every built-in file.
    #[must_use]
    pub fn builtin() -> Self {
        static READ: OnceLock<Corpus> = OnceLock::new();
        READ.get_or_init(|| {
            Self::from_files(builtin::FILES.iter().copied(), builtin::MIX)
                .expect("the built-in corpus is read by a test")
        })
        .clone()
    }

    /// Reads `*.json` from a folder. `mix.json` holds the weights; a payload it does not name has
    /// weight 0, and without it all weigh the same.
    ///
    /// # Errors
    /// When a file cannot be read or is not an envelope, or nothing has a weight above zero.
    pub fn from_dir(path: &Path) -> Result<Self, CorpusError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| CorpusError::Read {
                path: path.to_owned(),
                source,
            })
        };
        let fault = |source| CorpusError::Read {
            path: path.to_owned(),
            source,
        };
        let mut files = BTreeMap::new();
        let mut mix = None;
        for entry in std::fs::read_dir(path).map_err(fault)? {
            let file = entry.map_err(fault)?.path();
            if file.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            let stem = file
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default();
            if stem == "mix" {
                mix = Some(read(&file)?);
            } else {
                files.insert(stem, read(&file)?);
            }
        }
        let mix = match mix {
            Some(mix) => mix,
            None => {
                let even: BTreeMap<_, _> = files.keys().map(|name| (name, 1)).collect();
                serde_json::json!({ "weights": even }).to_string()
            }
        };
        Self::from_files(files.iter().map(|(a, b)| (a.as_str(), b.as_str())), &mix)
    }

    fn from_files<'a>(
        files: impl Iterator<Item = (&'a str, &'a str)>,
        mix: &str,
    ) -> Result<Self, CorpusError> {
        let malformed = |file: &str, source| CorpusError::Malformed {
            file: file.to_owned(),
            source,
        };
        let mix: Mix = serde_json::from_str(mix).map_err(|e| malformed("mix.json", e))?;
        let mut payloads = Vec::new();
        for (file, text) in files {
            let envelope: Envelope<'_> =
                serde_json::from_str(text).map_err(|e| malformed(file, e))?;
            let weight = mix.weights.get(file).copied().unwrap_or(0.0);
            let payload = Payload {
                file: file.to_owned(),
                name: envelope.t.into(),
                body: envelope.d.get().into(),
            };
            payloads.push((payload, if weight.is_finite() { weight } else { 0.0 }));
        }
        if payloads.iter().any(|(_, weight)| *weight > 0.0) {
            Ok(Self { payloads })
        } else {
            Err(CorpusError::Empty)
        }
    }

    /// All payloads, in the order of their file names.
    pub fn payloads(&self) -> impl Iterator<Item = &Payload> {
        self.payloads.iter().map(|(payload, _)| payload)
    }

    /// The payload of one file.
    #[must_use]
    pub fn get(&self, file: &str) -> Option<&Payload> {
        self.payloads().find(|payload| payload.file == file)
    }

    /// A way to draw from the payloads whose event name passes `wanted`.
    #[must_use]
    pub fn draw_from(&self, wanted: impl Fn(&str) -> bool) -> Draw {
        let mut sum = 0.0;
        let mut choices = Vec::new();
        for (payload, weight) in &self.payloads {
            if *weight > 0.0 && wanted(&payload.name) {
                sum += weight;
                choices.push((sum, payload.clone()));
            }
        }
        Draw { choices }
    }
}

/// A weighted choice among payloads.
#[derive(Clone, Debug)]
pub struct Draw {
    choices: Vec<(f64, Payload)>,
}

impl Draw {
    /// The next payload; none if nothing passed the filter.
    pub fn next(&self, rng: &mut Rng) -> Option<&Payload> {
        let point = rng.unit() * self.choices.last()?.0;
        let at = self.choices.partition_point(|(sum, _)| *sum <= point);
        self.choices.get(at).map(|(_, payload)| payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_corpus_reads_and_draws_by_weight() {
        let corpus = Corpus::builtin();
        assert!(corpus.payloads().count() > 50);
        let draw = corpus.draw_from(|_| true);
        let mut rng = Rng::new(3);
        let typing = (0..10_000)
            .filter(|_| &**draw.next(&mut rng).unwrap().name() == "TYPING_START")
            .count();
        assert!((1200..2000).contains(&typing), "{typing}");
        assert!(corpus.draw_from(|_| false).next(&mut rng).is_none());
    }

    #[test]
    fn the_folder_reads_like_the_builtin() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        let read = Corpus::from_dir(&dir).unwrap();
        assert_eq!(
            read.payloads().count(),
            Corpus::builtin().payloads().count()
        );
        assert!(matches!(
            Corpus::from_dir(&dir.join("absent")),
            Err(CorpusError::Read { .. })
        ));
    }
}
