"""discord.py as a peer of the emulated gateway.

Reports what the library gets as JSON lines on standard output, and takes orders as JSON lines on
standard input. Anything discord.py warns of, and any exception, is a complaint, and the exit code
is then 1.

usage: client.py API_BASE GATEWAY_URL zlib|zstd [--sharded] [--fetch-members]
"""

import asyncio
import json
import logging
import sys
import traceback

api_base, gateway_url, compression, *flags = sys.argv[1:]
if compression == "zlib":
    # discord.py takes zstd wherever it finds it.
    sys.modules["zstandard"] = sys.modules["compression.zstd"] = None

import discord  # noqa: E402
import discord.gateway  # noqa: E402
import discord.http  # noqa: E402
import yarl  # noqa: E402

complained = False


def report(kind, value=None):
    global complained
    complained = complained or kind == "complaint"
    print(json.dumps({kind: value}), flush=True)


class Listener(logging.Handler):
    """Tells of warnings and errors, and of events that were read and then put aside."""

    def emit(self, record):
        if record.levelno >= logging.WARNING:
            text = record.getMessage()
            if record.exc_info:
                text += "\n" + "".join(traceback.format_exception(*record.exc_info))
            report("complaint", text)
        elif "iscarding" in str(record.msg):
            report("discarded", record.getMessage())


class Reporter:
    """Mixed into the clients: reports each payload, and obeys orders."""

    async def setup_hook(self):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _, context: report("complaint", f"unhandled: {context}")
        )
        self._orders = asyncio.create_task(self.obey())

    async def on_socket_raw_receive(self, text):
        payload = json.loads(text)
        name = payload["t"]
        if payload["op"] != 0:
            return report("op", payload["op"])
        known = name in self._connection.parsers
        report("dispatch", {"seq": payload["s"], "name": name, "known": known})
        if name == "GUILD_CREATE":
            report("guild", int(payload["d"]["id"]))

    async def on_ready(self):
        for guild in self.guilds:
            # Discord lists a bot among the members of each of its guilds.
            if guild.me is None:
                report("complaint", f"not a member of guild {guild.id}")
        report("ready")

    async def on_error(self, event, *args, **kwargs):
        report("complaint", f"in {event}: {traceback.format_exc()}")

    async def obey(self):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        async for line in reader:
            ((order, value),) = json.loads(line).items()
            try:
                await getattr(self, "do_" + order)(value)
            except Exception:
                report("complaint", f"{order}: {traceback.format_exc()}")
        await self.close()

    async def do_members(self, guild):
        self.tell(await self.get_guild(guild).chunk())

    async def do_prefix(self, value):
        guild, prefix, limit = value
        self.tell(await self.get_guild(guild).query_members(prefix, limit=limit))

    async def do_ids(self, value):
        guild, ids = value
        found = await self.get_guild(guild).query_members(user_ids=ids, presences=True)
        self.tell(found)

    async def do_presence(self, _):
        activity = discord.Activity(type=discord.ActivityType.watching, name="the wire")
        await self.change_presence(activity=activity, status=discord.Status.idle)

    async def do_voice(self, value):
        guild, channel = value
        channel = channel and discord.Object(channel)
        await self.get_guild(guild).change_voice_state(channel=channel, self_mute=True)

    async def do_stop(self, _):
        # It trips over a close while it still counts the guilds that come after READY.
        if self._connection._ready_task is not None:
            await self._connection._ready_task
        await self.close()

    def tell(self, members):
        report("members", [member.id for member in members])


class Client(Reporter, discord.Client):
    pass


class ShardedClient(Reporter, discord.AutoShardedClient):
    pass


async def main():
    logger = logging.getLogger("discord")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(Listener())
    # Voice is not what this is about.
    discord.VoiceClient.warn_nacl = False
    discord.VoiceClient.warn_dave = False
    discord.http.Route.BASE = api_base
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway_url)
    used = discord.utils._ActiveDecompressionContext.COMPRESSION_TYPE
    if used != compression + "-stream":
        return report("complaint", f"discord.py would use {used}")
    kind = ShardedClient if "--sharded" in flags else Client
    client = kind(
        intents=discord.Intents.all(),
        chunk_guilds_at_startup="--fetch-members" in flags,
        enable_debug_events=True,
        # The emulator sends its guilds at once; no need to wait long for another.
        guild_ready_timeout=1.0,
    )
    try:
        async with client:
            await client.start("discord.py.token")
    except Exception:
        report("complaint", traceback.format_exc())


asyncio.run(main())
sys.exit(complained)
