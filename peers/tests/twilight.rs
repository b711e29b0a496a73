//! twilight against the emulated gateway.

use shardwright_peers::checks::{self, Start};
use shardwright_peers::twilight::Twilight;
use shardwright_testkit::corpus::Corpus;
use twilight_gateway::EventTypeFlags;

const TWILIGHT: Start<'_> = &|emulator, options| Box::new(Twilight::start(emulator, options));

#[test]
fn beats() {
    checks::beats(TWILIGHT);
}

#[test]
fn asked_for_beats() {
    checks::asked_for_beats(TWILIGHT);
}

#[test]
fn corpus() {
    let (unknown, discarded) = checks::corpus(TWILIGHT);
    assert_eq!(unknown, Vec::<String>::new());
    assert_eq!(discarded, Vec::<String>::new());
}

/// The one payload of the corpus that is not streamed.
#[test]
fn ready_of_the_corpus() {
    let corpus = Corpus::builtin();
    let ready = corpus.get("ready_1500_guilds").unwrap();
    let text = format!(r#"{{"t":"READY","s":1,"op":0,"d":{}}}"#, ready.body());
    let parsed = twilight_gateway::parse(text, EventTypeFlags::all()).unwrap();
    assert!(parsed.is_some());
}

#[test]
fn resumes() {
    checks::resumes(TWILIGHT);
}

#[test]
fn new_session() {
    checks::new_session(TWILIGHT);
}

#[test]
fn members() {
    checks::members(TWILIGHT);
}

/// The one thing twilight refuses that is right: Discord documents `meta` as it stands here, other
/// clients read it so, and the emulator sends it so. When this fails twilight has learnt it, and
/// the refusal of a second whole list should be checked with it.
#[test]
fn rate_limited_is_not_read_by_twilight() {
    let text = r#"{"t":"RATE_LIMITED","s":5,"op":0,"d":{"opcode":8,"retry_after":29.5,
                   "meta":{"guild_id":"5","nonce":"n"}}}"#;
    let parsed = twilight_gateway::parse(text.to_owned(), EventTypeFlags::all());
    assert!(parsed.is_err());
}

#[test]
fn presence() {
    checks::presence(TWILIGHT);
}

#[test]
fn voice() {
    checks::voice(TWILIGHT);
}

#[test]
fn ready() {
    checks::ready(TWILIGHT);
}

#[test]
fn two_shards() {
    checks::two_shards(TWILIGHT);
}
