//! What is sent: its shape, its size, its fields.

use serde_json::{Value, json};
use shardwright_core::{
    Activity, ActivityKind, ApiBase, ChannelId, Command, CommandError, GatewayRequest, GuildId,
    Input, Nonce, RequestGuildMembers, ShardId, ShardState, StatusUpdate, Token, UserId,
    VoiceStateUpdate,
};

use crate::play::{MAIN, Play, config, resume, secs};

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn guild() -> GuildId {
    GuildId::new(41_771_983_423_143_937)
}

/// There the presence stood in a field that version 8 took away, Identify had property names of before
/// version 10, and one version was asked for the address and another spoken.
#[test]
fn s13_payloads_have_the_shapes_of_the_one_version_that_is_spoken() {
    let token = Token::new("secret-token").unwrap();
    let request = GatewayRequest::new(&ApiBase::default(), &token);
    assert_eq!(request.url(), "https://discord.com/api/v10/gateway/bot");
    let mut play = Play::started();
    assert_eq!(play.dials()[0].1, MAIN);
    assert!(MAIN.contains("?v=10&"));
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41_250);
    assert_eq!(
        json_of(&play.sent(conn)[0]),
        json!({"op": 2, "d": {
            "token": "secret-token",
            "properties": {"os": "linux", "browser": "shardwright", "device": "shardwright"},
            "shard": [0, 1],
            "intents": 513,
        }})
    );
    play.ready(conn, "A", "ws://r1.example", 1);
    let playing = StatusUpdate::online().activity(Activity::playing("chess"));
    play.command(1, Command::status_update(playing).unwrap());
    assert_eq!(
        json_of(&play.sent(conn)[1]),
        json!({"op": 3, "d": {
            "since": null,
            "activities": [{"name": "chess", "type": 0}],
            "status": "online",
            "afk": false,
        }})
    );
    // In a new session the presence is part of Identify, in the same shape.
    play.op9(conn, "false");
    let (conn, _) = play.reconnect(41_250);
    let presence = &json_of(&play.sent(conn)[0])["d"]["presence"];
    assert_eq!(
        presence["activities"],
        json!([{"name": "chess", "type": 0}])
    );
    assert_eq!(presence.get("game"), None);
}

/// There 4096 characters were allowed, whatever they weighed.
#[test]
fn s23_the_limit_of_a_payload_is_counted_in_bytes() {
    // The text around a name, and a letter of two bytes.
    const AROUND: &str = concat!(
        r#"{"op":3,"d":{"since":null,"activities":[{"name":"","type":0}],"#,
        r#""status":"online","afk":false}}"#
    );
    assert_eq!(AROUND.len(), 93);
    let named = |name: String| {
        let status = StatusUpdate::online().activity(Activity::playing(name));
        Command::status_update(status)
    };
    // 93 + 1 + 2 * 2001 = 4096.
    let whole = named(format!("x{}", "é".repeat(2001))).unwrap();
    assert_eq!(whole.json().len(), 4096);
    let bytes = 4097;
    assert_eq!(
        named("é".repeat(2002)),
        Err(CommandError::TooLarge { bytes }),
        "2095 characters"
    );
    assert_eq!(
        Command::raw(&format!(
            r#"{{"op":31,"d":{{"guild_ids":["{}"]}}}}"#,
            "é".repeat(3000)
        )),
        Err(CommandError::TooLarge { bytes: 6032 })
    );
    let mut play = Play::up();
    let conn = play.conn();
    play.command(1, whole.clone());
    assert_eq!(play.sent(conn)[1], whole.json());
}

/// There a bot that muted itself was no longer deaf, for what was not said was sent as false; and members
/// could be asked for by prefix alone.
#[test]
fn s24_every_field_of_a_request_is_the_callers() {
    let mut voice = VoiceStateUpdate {
        guild: guild(),
        channel: Some(ChannelId::new(127_121_515_262_115_840)),
        self_mute: false,
        self_deaf: true,
    };
    voice.self_mute = true;
    let command = Command::voice_state_update(voice).unwrap();
    assert_eq!(
        json_of(command.json()),
        json!({"op": 4, "d": {
            "guild_id": "41771983423143937",
            "channel_id": "127121515262115840",
            "self_mute": true,
            "self_deaf": true,
        }})
    );
    let by_ids = RequestGuildMembers::by_ids(guild(), [UserId::new(80_351_110_224_678_912)])
        .presences(true)
        .nonce(Nonce::new("who-1").unwrap());
    let by_prefix = RequestGuildMembers::by_prefix(guild(), "an", 5);
    let everyone = RequestGuildMembers::everyone(guild());
    for (request, d) in [
        (
            by_ids,
            json!({
                "guild_id": "41771983423143937",
                "user_ids": ["80351110224678912"],
                "presences": true,
                "nonce": "who-1",
            }),
        ),
        (
            by_prefix,
            json!({"guild_id": "41771983423143937", "query": "an", "limit": 5}),
        ),
        (
            everyone,
            json!({"guild_id": "41771983423143937", "query": "", "limit": 0}),
        ),
    ] {
        let command = Command::request_guild_members(request).unwrap();
        assert_eq!(json_of(command.json()), json!({"op": 8, "d": d}));
    }
}

/// There what was described was not what was taken: a session stood under another key, and a kind of
/// activity was missing.
#[test]
fn s30_what_is_given_out_is_what_is_taken_back() {
    let text = r#"{"shard":[0,1],"session_id":"A","seq":5,"resume_gateway_url":"ws://r1.example"}"#;
    let state: ShardState = serde_json::from_str(text).unwrap();
    assert_eq!(state.shard, ShardId::SINGLE);
    let mut play = Play::with(config(), Some(state), 1);
    play.tell(Input::Start);
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41_250);
    assert_eq!(play.sent(conn), [resume("A", 5)]);
    play.resumed(conn, 6);
    play.pass(secs(1));
    let given = serde_json::to_value(play.machine.state()).unwrap();
    // What came is not handled yet.
    assert_eq!(given, json_of(text));
    let again: ShardState = serde_json::from_value(given).unwrap();
    assert_eq!(again, play.machine.state());

    for (word, number) in [
        ("playing", 0),
        ("streaming", 1),
        ("listening", 2),
        ("watching", 3),
        ("custom", 4),
        ("competing", 5),
    ] {
        let kind: ActivityKind = word.parse().unwrap();
        assert_eq!((kind.number(), kind.name()), (number, word));
        let shown = serde_json::to_value(Activity::new("a", kind)).unwrap();
        assert_eq!(shown["type"], json!(number));
    }
}
