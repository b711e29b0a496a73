//! The token is nowhere to be read.

use std::io::Write;
use std::sync::{Arc, Mutex, Once, OnceLock};

use shardwright_testkit::scenario::{Effect, Ending};
use shardwright_testkit::server::{Target, Tokens};
use shardwright_tokio::{
    ApiBase, ConnectError, Event, ShardFilter, Shards, StatusUpdate, StopReason, Token,
    connect_bot, gateway_info,
};
use tracing_subscriber::fmt::MakeWriter;

use crate::{emulator, in_time, options, until, until_connected};

/// Every line that this process has logged.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<String>>>);

fn written() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(Written::default)
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        self.0.lock().unwrap().push(line);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Written {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// What the libraries below write, with its level. The emulator's own thread is not the bot.
struct Libraries;

impl log::Log for Libraries {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        std::thread::current().name() != Some("gateway-emulator")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {} {}", record.level(), record.target(), record.args());
            written().0.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tracing = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(written().clone());
        tracing.try_init().unwrap();
        log::set_logger(&Libraries).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

const TOKEN: &str = "MTk4NjIyNDgzNDcx.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs";
/// One that is refused.
const WRONG: &str = "MjM4NDk0NzU2NTIx.CunGFQ.wUILz7z6HoJzVeq6pyHPmVgQgV4";

/// A life with every kind of error: all that its user could print.
async fn life() -> Vec<String> {
    let emulator = emulator(|config| config.tokens = Tokens::These([TOKEN.to_owned()].into()));
    let mut options = options(&emulator);
    options.label = "mine".to_owned();
    let mut texts = vec![format!("{options:?} {options:#?}")];
    let wrong = Token::new(WRONG).unwrap();
    texts.push(format!("{wrong:?}"));
    let mut nowhere = options.clone();
    nowhere.api = ApiBase::parse("http://127.0.0.1:9").unwrap();
    nowhere.start_tries = Some(1);
    for error in [
        connect_bot(wrong.clone(), options.clone()).await.map(drop),
        gateway_info(&wrong, &options).await.map(drop),
        connect_bot(wrong, nowhere).await.map(drop),
    ] {
        let error: ConnectError = error.unwrap_err();
        texts.push(format!("{error} {error:?}"));
    }
    let token = Token::new(format!("Bot {TOKEN}\n")).unwrap();
    let (bot, mut events) = connect_bot(token, options).await.unwrap();
    until_connected(&mut events).await;
    bot.status_update(StatusUpdate::dnd(), Shards::All)
        .await
        .unwrap();
    emulator.play(
        &Target::All,
        &[Effect::Cut {
            after: 3,
            then: Ending::Rst,
        }],
    );
    emulator.push_event(&Target::All, "CUT", "{}");
    until(&mut events, "the resume", |event| {
        texts.push(format!("{event:?} {event:#?}"));
        matches!(event, Event::Resumed { .. })
    })
    .await;
    texts.push(format!("{bot:?} {events:?}"));
    let states = bot.shard_states(ShardFilter::all()).await;
    texts.push(format!("{states:?}"));
    emulator.play(&Target::All, &[Effect::Close(Some(4004))]);
    let mut why = None;
    in_time("the end", async {
        while let Some(event) = events.next().await {
            texts.push(format!("{event:?}"));
            if let Event::Stopped { why: said, .. } = event {
                texts.push(said.to_string());
                why = Some(said);
            }
        }
    })
    .await;
    assert!(matches!(why, Some(StopReason::Fatal { .. })), "{why:?}");
    texts
}

/// The lines among these that give a token away, in whole or in part, or as bytes in hexadecimal.
fn leaks<'t>(lines: impl IntoIterator<Item = &'t String>) -> Vec<&'t String> {
    let parts = TOKEN.split('.').chain(WRONG.split('.'));
    let plain: Vec<String> = parts.map(str::to_owned).collect();
    let hex = |text: &String| -> String { text.bytes().map(|b| format!("{b:02x}")).collect() };
    let forms: Vec<String> = plain.iter().map(hex).chain(plain.clone()).collect();
    let lines = lines.into_iter();
    lines
        .filter(|line| forms.iter().any(|form| line.contains(form)))
        .collect()
}

/// There it stood in the data of three exceptions and, for a while, in the traces.
#[tokio::test]
async fn s28_the_token_is_in_no_text() {
    listen();
    let texts = life().await;
    assert_eq!(leaks(&texts), Vec::<&String>::new());
    let lines = written().0.lock().unwrap().clone();
    for part in ["starting", "Resumed", "ShardStopped", " ureq"] {
        let found = lines.iter().any(|line| line.contains(part));
        assert!(found, "what is searched has {part:?} in it");
    }
    // At its finest level the websocket library writes whole frames: see below.
    let below = |line: &&String| !line.starts_with("TRACE tungstenite");
    assert_eq!(leaks(lines.iter().filter(below)), Vec::<&String>::new());
}

/// Not even at the finest level of the libraries below.
#[tokio::test]
async fn s28_the_token_is_not_in_the_websocket_librarys_traces() {
    listen();
    life().await;
    let lines = written().0.lock().unwrap().clone();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("TRACE tungstenite"))
    );
    assert_eq!(leaks(&lines), Vec::<&String>::new());
}
