//! What every runtime offers beside its own functions: a user changes runtime by changing one line.

pub use shardwright_core::trace;
pub use shardwright_core::{
    Activity, ActivityKind, ApiBase, ChannelId, ChannelInfoField, CloseCode, Command, CommandError,
    Compression, ConnId, DisconnectReason, Dispatch, Event, EventFilter, EventId, FetchFault,
    FleetError, GateRequest, GatewayInfo, GuildId, GuildMembers, GuildMembersRequest, IdError,
    Intents, KnownStarts, Members, Next, NoProxy, Nonce, ParseActivityKindError, ParseIntentsError,
    ParseStatusError, Problem, Proxy, ProxyError, ProxyFault, ProxyRules, RawJson, ReShardPolicy,
    RequestGuildMembers, RequestMembersError, SessionLoss, SessionStartLimit, ShardFilter, ShardId,
    ShardIdError, ShardLimits, ShardPlan, ShardState, Shards, SocksReply, Status, StatusUpdate,
    StopReason, Token, TokenError, TransportFault, UrlError, UserId, VoiceStateUpdate,
};

pub use crate::{
    Acknowledge, AcknowledgeError, ConnectError, FileStore, IdentifyGate, InPlace, Options,
    Overflow, SavedRun, SavedStarts, SessionStore, StoreError, TlsError, TlsOptions, TraceFile,
    TraceFileError,
};
