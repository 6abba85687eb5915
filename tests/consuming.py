"""Consumers of a stream on the stand-in's server, faults on the way to it, and what must come of it all."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import botocore.httpsession
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from compaction.compact import compact
from ingest.consume import Consumer, Happened, Progress, Settings, consumer_of
from ingest.kinesis import Kinesis
from ingest.landing import LiveLake
from ingest.lease_table import LeaseTable
from ingest.shard_reader import Bounds
from lake.dead_letters import read_dead_letters
from lake.lake import Lake
from queries.connect import connect
from standin.server import AwsStandIn
from tests.accounts import Writer
from tests.lakes import SETTINGS, expected_items, items_of, only_table

LEASES = "leases"
BOUNDS = Bounds(window_bytes=20_000, window_records=40, window_seconds=0.3, poll_seconds=0.2)
WAIT_SECONDS_MAX = 60.0


class Running:
    """A consumer in a thread of this process; `happened` is what it told."""

    def __init__(
        self, lake: Lake, once: bool = False, lease_seconds: float = 2.0, bounds: Bounds = BOUNDS,
        stream: str = "orders", shards_max: int = 64,
    ) -> None:  # fmt: skip
        self.stop, self.happened, self.told_at = threading.Event(), list[Happened](), list[float]()
        self._lock = threading.Lock()
        kinesis = Kinesis(stream)
        table = LeaseTable(LEASES, consumer_of(lake.uri, kinesis), now_us)
        table.ensure(lambda seconds: None)
        self.consumer = Consumer(
            LiveLake(lake.uri, time.monotonic), kinesis, table, Settings(bounds, lease_seconds, shards_max, once),
            now_us, time.monotonic, self._tell,
        )  # fmt: skip
        self.progress, self.fault = Progress(), list[BaseException]()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.progress = self.consumer.run(self.stop)
        except BaseException as fault:
            self.fault.append(fault)

    def _tell(self, happened: Happened) -> None:
        with self._lock:
            self.happened.append(happened)
            self.told_at.append(time.monotonic())

    def end(self, tell: bool = True) -> Progress:
        """Has it stop (or waits until it does, once), raises what it raised."""
        if tell:
            self.stop.set()
        self._thread.join(WAIT_SECONDS_MAX)
        assert not self._thread.is_alive(), "it does not end"
        if self.fault:
            raise self.fault[0]
        return self.progress

    @property
    def faults(self) -> list[str]:
        return [str(one.what) for one in self.happened if isinstance(one.what, Exception)]

    @property
    def told(self) -> list[str]:
        return [one.what for one in self.happened if isinstance(one.what, str)]


def consume_once(lake: Lake) -> Progress:
    return Running(lake, once=True).end(tell=False)


def now_us() -> int:
    return time.time_ns() // 1_000


def wait_for(happens: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + WAIT_SECONDS_MAX
    while not happens():
        assert time.monotonic() < until, f"never {what}"
        time.sleep(0.02)


def write(aws: AwsStandIn, seed: int, count: int = 400, items: int = 30) -> None:
    Writer(aws, random.Random(seed), items, 3_000_000).write(count)


def check_exact(aws: AwsStandIn, lake: Lake) -> None:
    """Compacted, the log has each change that reached the stream once, the state is the table, each poison a letter."""
    compact(lake, only_table(lake), SETTINGS)
    history, report = aws.history("orders"), aws.report
    con = connect(lake, 1024, 2)
    try:
        ids = Counter(row[0] for row in con.execute("SELECT event_id FROM orders_changes").fetchall())
        assert ids == Counter({change.event_id for change in history.changes} - set(report.skipped))
        if not report.skipped:
            assert items_of(con, "orders") == expected_items(only_table(lake).keys, history.items.values())
    finally:
        con.close()
    letters = sorted(letter.raw for letter in read_dead_letters(lake.dead_letters))
    assert letters == sorted([poison.payload for poison in report.poison] + report.unregistered)


class Transport:
    """Faults on the way to the server, by what is asked for (`Kinesis_20131202.GetRecords`, `PUT raw`).

    `refuse` and `lose` take effect for as many requests as they say; `sent` counts all. Used as a context.
    """

    def __init__(self) -> None:
        self.sent = Counter[str]()
        self._rules = list[tuple[str, Any, list[int]]]()
        self._lock = threading.Lock()

    def refuse(self, wanted: str, code: str, status: int = 400, times: int = 1) -> list[int]:
        """Answers with an error before anything is done; gives a list whose element is how often yet."""
        body = f'{{"__type":"{code}","message":"no"}}'.encode()
        if wanted.startswith("PUT"):
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        return self._add(wanted, (status, body), times)

    def lose(self, wanted: str, times: int = 1) -> list[int]:
        """Has the server do it, and loses its answer."""
        return self._add(wanted, None, times)

    def cut(self, wanted: str, times: int = 1) -> list[int]:
        """Has no connection come about."""
        return self._add(wanted, ConnectTimeoutError(endpoint_url="cut"), times)

    def answer(self, wanted: str, body: bytes, times: int = 1) -> list[int]:
        """Answers in the server's stead."""
        return self._add(wanted, (200, body), times)

    def _add(self, wanted: str, answer: Any, times: int) -> list[int]:
        left = [times]
        self._rules.append((wanted, answer, left))
        return left

    def __enter__(self) -> Transport:
        self._send = botocore.httpsession.URLLib3Session.send
        transport = self

        def send(session: Any, request: Any) -> Any:
            return transport._answer(session, request)

        botocore.httpsession.URLLib3Session.send = send
        return self

    def __exit__(self, *_: object) -> None:
        botocore.httpsession.URLLib3Session.send = self._send

    def _answer(self, session: Any, request: Any) -> Any:
        target = request.headers.get("X-Amz-Target", b"")
        name = target.decode() if isinstance(target, bytes) else str(target)
        name = name or f"{request.method} {request.url.split('/', 3)[3]}"
        with self._lock:
            self.sent[name.partition("?")[0] if name.startswith(("PUT", "GET")) else name] += 1
            rule = next((rule for rule in self._rules if name.startswith(rule[0]) and rule[2][0]), None)
            if rule is not None:
                rule[2][0] -= 1
        if rule is None:
            return self._send(session, request)
        if rule[1] is None:
            self._send(session, request)
            raise ReadTimeoutError(endpoint_url=request.url)
        if isinstance(rule[1], Exception):
            raise rule[1]
        status, body = rule[1]
        found = AWSResponse(request.url, status, {"Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, None)
        found._content = body
        return found
