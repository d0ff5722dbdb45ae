"""`python -m benchmarks.edge_engine UFRAG_KEY LINK_KEY [real-time]`: the engine of an Edge, for whom the load brings.

Prints its addresses as JSON and runs until its standard input ends. The numbers of Core and key are those of
`rust/load/src/relay/visitors.rs`.
"""

from __future__ import annotations

import asyncio
import json
import sys

from mediaserver.engine import commands, events
from mediaserver.engine.config import EdgeConfig, EngineConfig
from mediaserver.engine.engine import Engine

CORE, KEY = 7, 1
PATHS = 20_000


async def run(ufrag_key: bytes, link_key: bytes, *, real_time: bool) -> None:
    """See the module."""
    edge = EdgeConfig(public_binds=("127.0.0.1:0",), link_bind="127.0.0.1:0", paths=PATHS, unproven_per_prefix=PATHS)
    engine = Engine(EngineConfig(shards=0, audio_threads=0, edge=edge, real_time=real_time))
    worker = engine.edge_id(0)
    opened: asyncio.Future[events.EdgeOpened] = asyncio.get_running_loop().create_future()

    def take(event: events.AnyEvent) -> None:
        if isinstance(event, events.EdgeOpened):
            opened.set_result(event)

    engine.subscribe_events(worker, take)
    await engine.start()
    try:
        addresses = await asyncio.wait_for(opened, 5)
        await engine.request(commands.SetCoreKey(id=worker, core=CORE, key_id=KEY, key=ufrag_key))
        await engine.request(commands.SetMediaLink(id=worker, core=CORE, shard=0, key=link_key))
        print(json.dumps({"public": addresses.public[0], "link": addresses.link}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await engine.stop()


if __name__ == "__main__":
    _, ufrag, link, *options = sys.argv
    asyncio.run(run(bytes.fromhex(ufrag), bytes.fromhex(link), real_time="real-time" in options))
