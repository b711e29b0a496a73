//! The scenarios that ship inside the binary.

use super::{Effect, Ending, Scenario, Step, Times, When};

/// A built-in scenario by name; `random_cuts:N` cuts each line every N seconds or so.
pub(super) fn named(name: &str) -> Option<Scenario> {
    let (word, number) = match name.split_once(':') {
        Some((word, number)) => (word, Some(number.parse::<u64>().ok().filter(|n| *n > 0)?)),
        None => (name, None),
    };
    let (about, steps) = match (word, number) {
        ("quiet", None) => ("A gateway in perfect order.", Vec::new()),
        ("newcomer", None) => (
            "An asked-for beat, a request to reconnect and a cut line within the first minute.",
            newcomer(),
        ),
        ("stormy", None) => (
            "Cut lines, reconnects and lost sessions, at random.",
            stormy(),
        ),
        ("random_cuts", seconds) => (
            "Each line is cut at random.",
            random_cuts(seconds.unwrap_or(30)),
        ),
        _ => return None,
    };
    Some(Scenario {
        name: name.to_owned(),
        about: about.to_owned(),
        steps,
        ..Scenario::default()
    })
}

fn newcomer() -> Vec<Step> {
    vec![
        Step::new(When::At(8_000), [Effect::Op1("absent".into())]),
        Step::new(
            When::At(20_000),
            [Effect::Op7, Effect::Wait(5_000), Effect::Close(Some(4000))],
        ),
        Step::new(
            When::At(45_000),
            [
                Effect::Cut {
                    after: 40,
                    then: Ending::Rst,
                },
                Effect::Events(1),
            ],
        ),
    ]
}

fn every(ms: u64, effects: impl Into<Vec<Effect>>) -> Step {
    Step {
        times: Times::Always,
        ..Step::new(When::EveryAbout(ms), effects)
    }
}

fn random_cuts(seconds: u64) -> Vec<Step> {
    let ms = seconds.saturating_mul(1000);
    vec![
        every(ms.saturating_mul(2), [Effect::Fin]),
        every(
            ms.saturating_mul(4),
            [
                Effect::Cut {
                    after: 25,
                    then: Ending::Rst,
                },
                Effect::Events(1),
            ],
        ),
        every(ms.saturating_mul(4), [Effect::Events(2), Effect::Rst]),
    ]
}

fn stormy() -> Vec<Step> {
    let mut steps = random_cuts(60);
    steps.extend([
        every(60_000, [Effect::Op1("absent".into())]),
        every(
            120_000,
            [Effect::Op7, Effect::Wait(3_000), Effect::Close(Some(4000))],
        ),
        every(300_000, [Effect::Close(Some(4000))]),
        every(300_000, [Effect::Close(Some(1001))]),
        every(400_000, [Effect::Op9(true.into())]),
        every(600_000, [Effect::Op9(false.into())]),
        every(600_000, [Effect::Stall]),
        every(600_000, [Effect::WithholdAcks(None)]),
        Step {
            times: Times::Always,
            chance: 0.05,
            ..Step::new(When::Dialled, [Effect::Hang])
        },
        Step {
            times: Times::Always,
            chance: 0.05,
            ..Step::new(
                When::Dialled,
                [Effect::Refuse {
                    status: 502,
                    retry_after: None,
                    location: None,
                }],
            )
        },
        Step {
            times: Times::Always,
            chance: 0.05,
            ..Step::new(When::Resume, [Effect::WaitUpTo(4_000)])
        },
    ]);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_scenario_survives_json() {
        for name in Scenario::NAMES.iter().chain(&["random_cuts:5"]) {
            let scenario = Scenario::named(name).unwrap();
            let text = serde_json::to_string(&scenario).unwrap();
            let read = Scenario::from_json(&text).unwrap();
            assert_eq!(text, serde_json::to_string(&read).unwrap());
        }
        assert!(Scenario::named("random_cuts:0").is_err());
        assert!(Scenario::named("nonsense").is_err());
    }
}
