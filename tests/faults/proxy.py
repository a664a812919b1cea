"""A TCP proxy before Kafka brokers that understands the framing of Kafka's protocol and can hold, cut, lose the answer of, or
repeat chosen requests: by API and by the client's name.

Brokers advertise the proxy's ports (cluster.Cluster), so that all that a client does goes through it. A held request is
delivered even when its client has given up and gone: that is what a slow network does, too.

Framing and request header: https://kafka.apache.org/protocol. Standard library alone.
"""

import asyncio
import contextlib
import dataclasses
import socket
import struct
import threading

API = {"Produce": 0, "Fetch": 1, "Metadata": 3, "OffsetCommit": 8, "OffsetFetch": 9, "FindCoordinator": 10, "JoinGroup": 11,
       "Heartbeat": 12, "SyncGroup": 14, "InitProducerId": 22, "AddPartitionsToTxn": 24, "AddOffsetsToTxn": 25,
       "EndTxn": 26, "TxnOffsetCommit": 28}
ACTIONS = (
    "hold",         # deliver it `seconds` later, and what follows on the connection behind it
    "cut_before",   # close the connection instead
    "cut_after",    # deliver it, close the client's side at once: the answer is lost
    "drop_answer",  # deliver it, keep the connection, never answer
    "hold_answer",  # deliver it, answer `seconds` later
    "repeat",       # deliver it, and once more `seconds` later on a connection of its own
)
MAX_FRAME = 128 << 20
# How long a broker gets to answer a request whose client is gone.
ORPHAN_SECONDS = 10


@dataclasses.dataclass
class Fault:
    """The next `count` requests of these APIs, of clients whose name begins with `client`, meet `action`."""
    apis: tuple
    action: str
    seconds: float = 0.0
    count: int = 1
    client: str = ""
    skip: int = 0  # this many that fit go by first

    def __post_init__(self):
        if self.action not in ACTIONS:
            raise ValueError(f"there is no action {self.action}: {', '.join(ACTIONS)}")
        self.keys = {API[name] for name in self.apis}


@dataclasses.dataclass
class Request:
    api: int
    correlation: int
    client: str


def parse(frame):
    """The header of a request frame (without its length)."""
    api, _, correlation, length = struct.unpack_from(">hhih", frame)
    return Request(api, correlation, frame[10:10 + length].decode(errors="replace") if length > 0 else "")


async def read_frame(reader):
    """None at the end of the stream."""
    try:
        length, = struct.unpack(">i", await reader.readexactly(4))
        if not 0 <= length <= MAX_FRAME:
            return None
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def framed(frame):
    return struct.pack(">i", len(frame)) + frame


class Connection:
    def __init__(self, proxy, client, upstream):
        self.proxy = proxy
        self.client_reader, self.client = client
        self.upstream_reader, self.upstream = upstream
        # correlation id → what happens to its answer: None, or (action, seconds)
        self.answers = {}

    async def run(self):
        requests = asyncio.create_task(self.requests())
        answers = asyncio.create_task(self.responses())
        try:
            await requests
            if self.answers:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(asyncio.shield(answers), ORPHAN_SECONDS)
        finally:
            for task in (requests, answers):
                task.cancel()
            for writer in (self.client, self.upstream):
                writer.transport.abort()

    async def requests(self):
        while (frame := await read_frame(self.client_reader)) is not None:
            request = parse(frame)
            fault = self.proxy.take(request)
            action = fault.action if fault else None
            if action == "cut_before":
                self.client.transport.abort()
                return
            if action == "hold":
                await asyncio.sleep(fault.seconds)
            self.answers[request.correlation] = (action, fault.seconds) if fault else None
            self.upstream.write(framed(frame))
            try:
                await self.upstream.drain()
            except ConnectionError:
                return
            if action == "repeat":
                self.proxy.spawn(self.repeat(frame, fault.seconds))
            if action == "cut_after":
                self.client.transport.abort()
                return

    async def repeat(self, frame, seconds):
        await asyncio.sleep(seconds)
        host, port = self.upstream.get_extra_info("peername")[:2]
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(framed(frame))
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(read_frame(reader), ORPHAN_SECONDS)
            writer.close()

    async def responses(self):
        while (frame := await read_frame(self.upstream_reader)) is not None:
            correlation, = struct.unpack_from(">i", frame)
            fate = self.answers.pop(correlation, None)
            if fate is not None and fate[0] == "drop_answer":
                continue
            if fate is not None and fate[0] == "hold_answer":
                await asyncio.sleep(fate[1])
            if self.client.transport.is_closing():
                continue
            self.client.write(framed(frame))
            with contextlib.suppress(ConnectionError):
                await self.client.drain()
        self.client.transport.abort()


class Proxy:
    """`count` listening ports, one before each broker. Its own thread; methods may be called from any. Context manager."""

    def __init__(self, count):
        self.sockets = []
        for _ in range(count):
            one = socket.socket()
            one.bind(("127.0.0.1", 0))
            one.listen(256)
            self.sockets.append(one)
        self.ports = [one.getsockname()[1] for one in self.sockets]
        self.upstreams = [None] * count
        self.lock = threading.Lock()
        self.faults = []  # guarded by lock
        self.met = []     # guarded by lock: (fault, request) in the order of meeting
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.tasks = set()
        self.connections = set()

    @property
    def bootstrap(self):
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def advertised(self, number, port):
        """For Cluster: the broker behind port `number` listens on `port`."""
        self.upstreams[number] = ("127.0.0.1", port)
        return f"127.0.0.1:{self.ports[number]}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        for one in self.sockets:
            one.close()

    def plant(self, fault):
        with self.lock:
            self.faults.append(fault)

    def clear(self):
        with self.lock:
            self.faults.clear()

    def count_met(self):
        with self.lock:
            return len(self.met)

    def cut_all(self):
        """Every connection, now."""
        def cut():
            for connection in list(self.connections):
                connection.client.transport.abort()
                connection.upstream.transport.abort()
        self.loop.call_soon_threadsafe(cut)

    # --- the loop's thread ---

    def take(self, request):
        with self.lock:
            for fault in self.faults:
                if request.api in fault.keys and request.client.startswith(fault.client):
                    if fault.skip > 0:
                        fault.skip -= 1
                        return None
                    fault.count -= 1
                    if fault.count <= 0:
                        self.faults.remove(fault)
                    self.met.append((fault, request))
                    return fault
        return None

    def spawn(self, coroutine):
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _serve(self):
        asyncio.set_event_loop(self.loop)
        servers = [self.loop.run_until_complete(
            asyncio.start_server(lambda reader, writer, number=number: self._accept(number, reader, writer), sock=one))
            for number, one in enumerate(self.sockets)]
        self.loop.run_forever()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                self.loop.run_until_complete(task)
        self.loop.close()

    async def _accept(self, number, reader, writer):
        if self.upstreams[number] is None:
            writer.transport.abort()
            return
        try:
            upstream = await asyncio.open_connection(*self.upstreams[number])
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(self, (reader, writer), upstream)
        self.connections.add(connection)
        try:
            await connection.run()
        except asyncio.CancelledError:
            pass  # the proxy ends
        finally:
            self.connections.discard(connection)
