use super::*;
use crate::activity::Activity;
use crate::ids::UserId;

const GUILD: GuildId = GuildId::new(41_771_983_423_143_937);

#[test]
fn a_presence_is_op_3_and_can_be_repeated() {
    let status = StatusUpdate::online().activity(Activity::playing("chess"));
    let command = Command::status_update(status.clone()).unwrap();
    assert_eq!(
        command.json(),
        r#"{"op":3,"d":{"since":null,"activities":[{"name":"chess","type":0}],"status":"online","afk":false}}"#
    );
    assert_eq!((command.op(), command.kind()), (3, &CommandKind::Presence));
    assert_eq!(command.status(), Some(&status));
    assert_eq!((command.guild(), command.guilds()), (None, &[][..]));
    let empty = StatusUpdate::online().activity(Activity::playing(""));
    assert!(Command::status_update(empty).is_err());
}

#[test]
fn the_limit_counts_bytes_and_4096_pass() {
    // The payload around the name has 93 bytes, so 4003 remain: 2001 characters of two bytes
    // and one of one byte.
    let of = |name: String| {
        Command::status_update(StatusUpdate::online().activity(Activity::playing(name)))
    };
    assert_eq!(of("x".into()).unwrap().json().len(), 94);
    let name = "é".repeat(2001) + "x";
    assert_eq!(of(name.clone()).unwrap().json().len(), 4096);
    assert_eq!(of(name + "x"), Err(CommandError::TooLarge { bytes: 4097 }));
}

#[test]
fn voice_states_are_op_4_and_leave_with_null() {
    let mut voice = VoiceStateUpdate {
        guild: GUILD,
        channel: Some(ChannelId::new(127_121_515_262_115_840)),
        self_mute: false,
        self_deaf: true,
    };
    let command = Command::voice_state_update(voice).unwrap();
    assert_eq!(
        command.json(),
        r#"{"op":4,"d":{"guild_id":"41771983423143937","channel_id":"127121515262115840","self_mute":false,"self_deaf":true}}"#
    );
    assert_eq!(command.kind(), &CommandKind::VoiceState(GUILD));
    assert_eq!(command.guild(), Some(GUILD));
    voice.channel = None;
    assert_eq!(
        Command::voice_state_update(voice).unwrap().json(),
        r#"{"op":4,"d":{"guild_id":"41771983423143937","channel_id":null,"self_mute":false,"self_deaf":true}}"#
    );
}

#[test]
fn member_requests_are_op_8() {
    let everyone = Command::request_guild_members(RequestGuildMembers::everyone(GUILD)).unwrap();
    assert_eq!(
        everyone.json(),
        r#"{"op":8,"d":{"guild_id":"41771983423143937","query":"","limit":0}}"#
    );
    let nonce = Nonce::new("n1").unwrap();
    let ids = RequestGuildMembers::by_ids(GUILD, [UserId::new(1), UserId::new(2)])
        .presences(true)
        .nonce(nonce.clone());
    let ids = Command::request_guild_members(ids).unwrap();
    assert_eq!(
        ids.json(),
        r#"{"op":8,"d":{"guild_id":"41771983423143937","user_ids":["1","2"],"presences":true,"nonce":"n1"}}"#
    );
    assert_eq!(
        ids.kind(),
        &CommandKind::Members {
            guild: GUILD,
            nonce: Some(nonce),
            whole_list: false
        }
    );
    assert_eq!(ids.guild(), Some(GUILD));
    assert!(matches!(
        everyone.kind(),
        CommandKind::Members {
            whole_list: true,
            ..
        }
    ));
}

#[test]
fn a_hundred_ids_pass_whole() {
    let ids = (0..100).map(|n| UserId::new(10_000_000_000_000_000_000 + n));
    let command = Command::request_guild_members(RequestGuildMembers::by_ids(GUILD, ids)).unwrap();
    // 100 ids of 20 digits with quotes and commas are 2299 bytes, the rest 59.
    assert_eq!(command.json().len(), 2358);
    assert_eq!(command.json().matches("\"1000000000000000").count(), 100);
    let ids = (0..150).map(UserId::new);
    assert!(Command::request_guild_members(RequestGuildMembers::by_ids(GUILD, ids)).is_err());
}

#[test]
fn soundboard_requests_are_op_31() {
    let command = Command::request_soundboard_sounds([GUILD, GuildId::new(2)]).unwrap();
    assert_eq!(
        command.json(),
        r#"{"op":31,"d":{"guild_ids":["41771983423143937","2"]}}"#
    );
    assert_eq!(command.guild(), None);
    assert_eq!(command.guilds(), [GUILD, GuildId::new(2)]);
    assert_eq!(
        Command::request_soundboard_sounds([GUILD]).unwrap().guild(),
        Some(GUILD)
    );
    assert!(Command::request_soundboard_sounds([]).is_err());
    // 49 bytes with one id of 17 digits, 20 more with each further one: 203 fit into 4096.
    let many = |count: usize| Command::request_soundboard_sounds(vec![GUILD; count]);
    assert_eq!(many(203).unwrap().json().len(), 4089);
    assert_eq!(many(204), Err(CommandError::TooLarge { bytes: 4109 }));
}

#[test]
fn channel_info_requests_are_op_43() {
    let fields = [
        ChannelInfoField::Status,
        ChannelInfoField::VoiceStartTime,
        ChannelInfoField::Status,
    ];
    let command = Command::request_channel_info(GUILD, fields).unwrap();
    assert_eq!(
        command.json(),
        r#"{"op":43,"d":{"guild_id":"41771983423143937","fields":["status","voice_start_time"]}}"#
    );
    assert_eq!(command.kind(), &CommandKind::ChannelInfo(GUILD));
    assert!(Command::request_channel_info(GUILD, []).is_err());
}

#[test]
fn debug_is_short() {
    let command = Command::raw(r#"{"op":3,"d":{"secret":"x"}}"#).unwrap();
    assert_eq!(format!("{command:?}"), "Command(op 3, 27 bytes)");
    assert_eq!(command.kind(), &CommandKind::Raw);
    assert_eq!(command.status(), None);
}
