//! Every operation has its type of error, and a reason in it.

use shardwright_testkit::scenario::RestFault;
use shardwright_testkit::server::Tokens;
use shardwright_tokio::{
    Activity, ApiBase, CommandError, ConnectError, FetchFault, FleetError, Intents,
    ParseIntentsError, ShardFilter, ShardId, ShardIdError, ShardState, Shards, StatusUpdate, Token,
    TokenError, connect_bot, gateway_info,
};

use crate::{emulator, options, token, until_connected};

/// There an error was thrown, or returned as a value, or nothing came back; and that the gateway could
/// not be asked had no reason at all.
#[tokio::test]
async fn s21_what_fails_says_what_failed() {
    // Values.
    assert_eq!(Token::new(" \n").unwrap_err(), TokenError::Empty);
    let unknown = "guilds, guild-mesages".parse::<Intents>().unwrap_err();
    assert!(
        matches!(&unknown, ParseIntentsError::Unknown { word, .. } if word == "guild-mesages"),
        "{unknown:?}"
    );
    assert_eq!(
        ShardId::new(2, 2),
        Err(ShardIdError::OutOfRange {
            number: 2,
            total: 2
        })
    );

    // The gateway's address: the status of every answer is kept.
    let server = emulator(|config| config.tokens = Tokens::These(["another".to_owned()].into()));
    let mut once = options(&server);
    once.start_tries = Some(1);
    for error in [
        connect_bot(token(), once.clone())
            .await
            .map(drop)
            .unwrap_err(),
        gateway_info(&token(), &once).await.map(drop).unwrap_err(),
    ] {
        assert!(
            matches!(
                &error,
                ConnectError::Fetch(fault @ FetchFault::Refused { status: 401, .. })
                    if fault.is_fatal()
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains("token"), "{error}");
    }
    let server = emulator(|_| {});
    let mut once = options(&server);
    once.start_tries = Some(1);
    let mut faults = Vec::new();
    for (status, html) in [(503, false), (429, false), (200, true)] {
        let mut fault = RestFault::default();
        fault.status = Some(status);
        fault.html = html;
        fault.retry_after = Some(1.5);
        server.with_machine(|machine| machine.push_rest_fault(fault));
        let ConnectError::Fetch(fault) = gateway_info(&token(), &once).await.unwrap_err() else {
            panic!("another kind of error");
        };
        assert!(!fault.is_fatal());
        faults.push(fault);
    }
    assert!(
        matches!(
            faults[..],
            [
                FetchFault::Unavailable { status: 503 },
                FetchFault::RateLimited { .. },
                FetchFault::NotAGateway { .. }
            ]
        ),
        "{faults:?}"
    );
    let mut nowhere = once.clone();
    nowhere.api = ApiBase::parse("http://127.0.0.1:9").unwrap();
    let error = gateway_info(&token(), &nowhere).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Fetch(FetchFault::Network { .. })),
        "{error:?}"
    );

    // Commands, and changes of the set of shards.
    let (bot, mut events) = connect_bot(token(), once).await.unwrap();
    until_connected(&mut events).await;
    let nameless = StatusUpdate::online().activity(Activity::playing(""));
    assert!(matches!(
        bot.status_update(nameless, Shards::All).await.map(drop),
        Err(CommandError::BadValue { .. })
    ));
    let nobody = bot.status_update(StatusUpdate::dnd(), Shards::Only(vec![7]));
    assert_eq!(
        nobody.await.map(drop),
        Err(CommandError::NoSuchShard { shard: 7 })
    );
    let shard = ShardId::SINGLE;
    let twice = bot.add_shards([ShardState::fresh(shard)]).await;
    assert_eq!(twice, Err(FleetError::AlreadyHere { shard }));
    let same = bot.re_shard(Some(1)).await;
    assert_eq!(same, Err(FleetError::SameTotal { total: 1 }));
    bot.disconnect().await;
    // After the end everything still answers.
    let late = bot.status_update(StatusUpdate::dnd(), Shards::All).await;
    assert_eq!(late.map(drop), Err(CommandError::Stopped));
    assert_eq!(bot.re_shard(None).await, Err(FleetError::Stopped));
    assert_eq!(bot.shard_states(ShardFilter::all()).await.len(), 1);
}
