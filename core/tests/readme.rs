//! The README's walk by hand, as it stands there.

use std::time::{Duration, Instant};

use shardwright_core::{
    Action, Event, Input, Intents, ShardConfig, ShardId, ShardMachine, Token, Wait,
};

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn the_machine_is_driven_by_hand() -> Result<(), Box<dyn std::error::Error>> {
    let config = ShardConfig::new(
        ShardId::new(0, 1)?,
        Token::new("token")?,
        Intents::GUILDS,
        "wss://gateway.example".parse()?,
    );
    let now = Instant::now();
    let mut shard = ShardMachine::new(config, None, 1, now);
    shard.handle(now, Input::Start)?;

    // Do what it says until it waits.
    let mut dialled = None;
    loop {
        match shard.poll() {
            Action::Connect { conn, url, .. } => {
                assert_eq!(
                    url,
                    "wss://gateway.example/?v=10&encoding=json&compress=zlib-stream"
                );
                dialled = Some(conn);
            }
            Action::Emit(event) => assert!(matches!(event, Event::Connecting { .. })),
            Action::Wait(Wait::Until(deadline)) => {
                assert_eq!(
                    deadline,
                    now + Duration::from_secs(10),
                    "a dial may take ten seconds"
                );
                break;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }

    // The host never answers. Nothing hangs: the dial is dropped and tried again after a pause.
    shard.handle(now + Duration::from_secs(10), Input::Tick { wall: None })?;
    assert!(matches!(shard.poll(), Action::Abort { conn } if Some(conn) == dialled));
    Ok(())
}
