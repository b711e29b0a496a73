//! How-tos, the defaults with their reasons, and the faults that this design excludes.
//!
//! # How to
//!
//! **Drive a machine.** See the crate's front page: `handle`, then `poll` until `Wait`. A driver opens
//! sockets when told [`Connect`](crate::Action::Connect), writes what [`Send`](crate::Action::Send)
//! gives it and says [`Flushed`](crate::Input::Flushed) when it is out, closes with exactly the code in
//! [`Close`](crate::Action::Close) and reads on until the peer has closed, drops the socket at
//! [`Abort`](crate::Action::Abort), and reads only while
//! [`wants_to_read`](crate::ShardMachine::wants_to_read).
//!
//! **Survive a crash.** Acknowledge what has been handled ([`Input::Acknowledged`](crate::Input)), store
//! [`ShardMachine::state`](crate::ShardMachine::state) now and then, and give it to
//! [`ShardMachine::new`](crate::ShardMachine::new) in the next process: Discord replays what came after
//! the last acknowledged event, if the process is back within a few minutes.
//!
//! **Hand a shard to another process.** [`Stop::Keep`](crate::Stop::Keep) closes with a code that keeps
//! the session; the last event carries the state to give to the other process.
//!
//! **Test a bot.** Time and randomness are arguments: the same configuration, seed, times and inputs give
//! the same actions.
//!
//! # Defaults
//!
//! Discord documents none of these deadlines. All are fields of [`ShardLimits`](crate::ShardLimits).
//!
//! | what | default | why |
//! |---|---|---|
//! | dial | 10 s | TCP, TLS and upgrade take well under a second; a host that hangs is left for another try |
//! | Hello | 20 s | it is the first thing a gateway says |
//! | READY | 60 s | during an outage READY can come late; beats go on meanwhile |
//! | RESUMED | 60 s without a replayed event | a long replay that moves is left alone |
//! | close | 5 s, or until the next dial | a peer that does not answer a close frame must not delay a resume |
//! | backoff | 0 to 1 s, doubling, to 60 s | full jitter, so that a thousand shards do not dial at once |
//! | stable | 60 s live | shorter connections count as flaps and slow the next dial |
//! | payload | 64 MiB | a READY can reach 40 MB; anything larger is an attack or a fault |
//! | commands waiting | 1,024 | more is a bot that sends faster than Discord allows for ten minutes |
//!
//! # Faults of gateway clients, and what excludes them here
//!
//! | fault | excluded by |
//! |---|---|
//! | a late event of an old socket tears down the new one | every input carries its connection's number |
//! | the heart waits behind commands, or a slow consumer | timers run before inputs; a reserve in the send budget; delivery is never awaited |
//! | the close code of a library (1000) ends a session that should be resumed | the code is part of [`Close`](crate::Action::Close); 1000 comes of [`Stop::Final`](crate::Stop::Final) alone |
//! | op 9 `true` is taken for `false`; a resume is tried for ever | the body is looked at; five fruitless resumes are the end |
//! | an unreachable resume host is dialled for ever | hosts alternate; the session is kept |
//! | old sequence numbers in a new session | id, resume host and sequence are one value, replaced by READY |
//! | the decompressor outlives its connection | it is made anew when a connection opens |
//! | an event that cannot be decoded is replayed for ever | the second failure at one sequence gives the session up and says so |
//! | a session start is spent in a tight loop | flaps and failures slow down; a breaker after ten fruitless starts |
//! | a token in a log | [`Token`](crate::Token) and [`OutgoingText`](crate::OutgoingText) do not show it |
