//! The token stands in Identify and Resume and in no other text.

mod play;

use std::time::{Duration, Instant, SystemTime};

use play::{config, dispatch_text, ready_text, secs, text_frame};
use shardwright_core::{
    Action, Activity, Command, CommandId, Compression, ConnId, Event, Frame, IfNotReady, Input,
    ShardMachine, StatusUpdate, Stop, Token, TransportFault, Wait,
};

const TOKEN: &str = "MTk4NjIy.Cl2FMQ/+a\"b=.ZnCjm1XVW7vRze4b7Cq4se7kKWs";
/// The same, percent-encoded, and escaped as in JSON.
const FORMS: [&str; 3] = [
    TOKEN,
    "MTk4NjIy.Cl2FMQ%2F%2Ba%22b%3D.ZnCjm1XVW7vRze4b7Cq4se7kKWs",
    r#"MTk4NjIy.Cl2FMQ/+a\"b=.ZnCjm1XVW7vRze4b7Cq4se7kKWs"#,
];
/// Parts that would give it away as well.
const PARTS: [&str; 3] = ["MTk4NjIy", "Cl2FMQ", "ZnCjm1XVW7vRze4b7Cq4se7kKWs"];

struct Life {
    machine: ShardMachine,
    now: Instant,
    conn: Option<ConnId>,
    /// Everything anyone could print.
    texts: Vec<String>,
    /// The frames that may hold the token.
    secret: Vec<String>,
    /// All other frames.
    frames: Vec<String>,
}

impl Life {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn new(compression: Compression) -> Self {
        let mut config = config();
        // As a file would hold it.
        config.token = Token::new(format!("Bot {TOKEN}\n")).unwrap();
        config.compression = compression;
        config.presence = Some(StatusUpdate::online().activity(Activity::playing("chess")));
        let now = Instant::now();
        let texts = vec![format!("{config:?}"), format!("{config:#?}")];
        Self {
            machine: ShardMachine::new(config, None, 3, now),
            now,
            conn: None,
            texts,
            secret: Vec::new(),
            frames: Vec::new(),
        }
    }

    fn tell(&mut self, input: Input) {
        self.texts.push(format!("{input:?}"));
        if let Err(misuse) = self.machine.handle(self.now, input) {
            self.texts.push(format!("{misuse:?} {misuse}"));
        }
        // In the middle of a drain, when frames are queued inside.
        self.texts.push(format!("{:?}", self.machine));
        loop {
            let action = self.machine.poll();
            self.texts.push(format!("{action:?} {action:#?}"));
            match action {
                Action::Wait(_) => break,
                Action::Connect { conn, url, .. } => {
                    self.conn = Some(conn);
                    self.texts.push(url);
                }
                Action::Send { text, .. } if text.is_secret() => {
                    self.secret.push(text.into_string());
                }
                Action::Send { text, .. } => self.frames.push(text.into_string()),
                Action::Close { reason, .. } => self.texts.push(reason.to_owned()),
                Action::Emit(Event::Disconnected { reason, .. }) => {
                    self.texts.push(reason.to_string());
                }
                Action::Emit(Event::Problem { problem, .. }) => {
                    self.texts.push(problem.to_string());
                }
                Action::Emit(Event::ShardStopped { why, state, .. }) => {
                    self.texts.push(why.to_string());
                    self.texts.push(format!("{state:?}"));
                }
                _ => {}
            }
        }
        self.texts.push(format!("{:#?}", self.machine));
        self.texts.push(format!("{:?}", self.machine.state()));
    }

    fn text(&mut self, text: &str) {
        let conn = self.conn.unwrap();
        self.tell(Input::Received {
            conn,
            frame: text_frame(text),
        });
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Wait::Until(at) = self.machine.wait()
            && at <= end
        {
            self.now = self.now.max(at);
            self.tell(Input::Tick {
                wall: Some(SystemTime::UNIX_EPOCH),
            });
        }
        self.now = end;
    }

    /// Waits for the next dial, opens it and says Hello.
    fn connect(&mut self) -> ConnId {
        let before = self.conn;
        while self.conn == before {
            let Wait::Until(at) = self.machine.wait() else {
                panic!("no dial comes");
            };
            self.pass(at.saturating_duration_since(self.now));
        }
        self.greet()
    }

    fn greet(&mut self) -> ConnId {
        let conn = self.conn.unwrap();
        self.tell(Input::Opened { conn });
        self.text(r#"{"op":10,"d":{"heartbeat_interval":41250}}"#);
        self.tell(Input::IdentifyGranted { conn });
        self.tell(Input::Flushed { conn });
        conn
    }
}

#[test]
fn a_whole_life_shows_the_token_in_identify_and_resume_alone() {
    for compression in [Compression::None, Compression::Payload, Compression::Zlib] {
        let mut life = Life::new(compression);
        life.tell(Input::Start);
        life.tell(Input::Start);
        // Every kind of failed dial.
        for why in [
            TransportFault::NameLookup,
            TransportFault::Refused,
            TransportFault::Tls("handshake".into()),
            TransportFault::Upgrade {
                status: 429,
                retry_after: Some(secs(7)),
            },
        ] {
            let conn = life.conn.unwrap();
            life.tell(Input::Failed { conn, why });
            let before = life.conn;
            while life.conn == before {
                life.pass(secs(1));
            }
        }
        let conn = life.greet();
        life.text(&ready_text("A", "ws://r1.example", 1));
        for id in 0..200 {
            let command = match id % 3 {
                0 => Command::raw(r#"{"op":31,"d":1}"#),
                1 => Command::status_update(StatusUpdate::dnd()),
                _ => Command::raw(r#"{"op":31,"d":2}"#),
            };
            life.tell(Input::Command {
                id: CommandId(id),
                command: command.unwrap(),
                if_not_ready: IfNotReady::Queue,
            });
        }
        life.text(r#"{"op":1,"d":null}"#);
        life.pass(secs(60));
        life.tell(Input::Closed {
            conn,
            code: Some(4002),
        });
        // A resume, a gap, something malformed, a lost session, a zombie, a stall, a refusal.
        life.connect();
        life.text(&dispatch_text(9, "MESSAGE_CREATE"));
        life.text("nonsense");
        let conn = life.connect();
        life.tell(Input::Received {
            conn,
            frame: Frame::Binary(vec![0x78, 0x9C, 0x07, 0x00, 0x00, 0xFF, 0xFF].into()),
        });
        life.connect();
        life.text(r#"{"op":9,"d":false}"#);
        life.connect();
        life.text(&ready_text("B", "ws://r1.example", 1));
        life.pass(secs(200));
        life.connect();
        life.text(r#"{"t":"RESUMED","s":2,"op":0,"d":null}"#);
        life.tell(Input::Congested(true));
        life.pass(secs(100));
        life.tell(Input::Congested(false));
        let conn = life.greet();
        life.text(r#"{"t":"RESUMED","s":3,"op":0,"d":null}"#);
        life.tell(Input::Closed {
            conn,
            code: Some(4004),
        });
        life.tell(Input::Stop(Stop::Final));
        assert_eq!(life.machine.wait(), Wait::Stopped);

        assert!(life.secret.len() >= 6, "{}", life.secret.len());
        let identifies = life
            .secret
            .iter()
            .filter(|text| text.starts_with(r#"{"op":2,"#));
        assert!(identifies.count() >= 2);
        // The search can find something: escaped, as JSON has it.
        assert!(life.secret.iter().all(|text| text.contains(FORMS[2])));
        assert!(life.frames.len() > 100);
        for text in life.texts.iter().chain(&life.frames) {
            for form in FORMS.iter().chain(&PARTS) {
                assert!(!text.contains(form), "the token is in {text:.400}");
            }
        }
    }
}

#[test]
fn a_frame_with_the_token_shows_its_opcode_only() {
    let mut life = Life::new(Compression::None);
    life.tell(Input::Start);
    life.greet();
    let shown = life
        .texts
        .iter()
        .any(|text| text.contains("op 2 (body not shown"));
    assert!(shown);
}

#[test]
fn a_token_that_cannot_be_one_is_refused_without_showing_it() {
    for text in [
        format!("{TOKEN} x"),
        format!("{TOKEN}\u{7}"),
        format!("{TOKEN}é"),
    ] {
        let error = Token::new(&text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(PARTS.iter().all(|part| !shown.contains(part)), "{shown}");
    }
    let token = Token::new(format!("{TOKEN}\r\n")).unwrap();
    assert_eq!(token.expose(), TOKEN);
    for form in FORMS {
        let shown = token.redact(&format!("before {form} after")).into_owned();
        assert_eq!(shown, "before [token] after");
    }
}
