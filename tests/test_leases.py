"""Leases: who reads what, as pure decisions, on random streams with workers that die, stall and come back."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.lease_table import Counts, LeaseTable
from ingest.leases import (
    SHARD_END,
    TRIM_HORIZON,
    Lease,
    Shard,
    Sightings,
    is_readable,
    missing_leases,
    plan_takes,
    trimmed,
)
from standin.server import AwsStandIn

LEASE_SECONDS = 30.0


@dataclass
class Stream:
    """Shards with numbered records; a closed one has children, and takes no more."""

    records: dict[str, list[int]] = field(default_factory=lambda: {"s0": [], "s1": []})
    parents: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"s0": (), "s1": ()})
    closed: set[str] = field(default_factory=set)
    written: int = 0

    @property
    def shards(self) -> list[Shard]:
        return [Shard(name, parents) for name, parents in self.parents.items()]

    def put(self, rng: random.Random) -> None:
        self.written += 1
        self.records[rng.choice([name for name in self.records if name not in self.closed])].append(self.written)

    def reshard(self, rng: random.Random) -> None:
        still_open = [name for name in self.records if name not in self.closed]
        if len(still_open) > 1 and rng.random() < 0.5:
            parents, children = tuple(rng.sample(still_open, 2)), 1
        else:
            parents, children = (rng.choice(still_open),), 2
        self.closed |= set(parents)
        for _ in range(children):
            name = f"s{len(self.records)}"
            self.records[name], self.parents[name] = [], parents


class Table:
    """Leases with the conditions of `LeaseTable`, which a test below holds to the same."""

    def __init__(self) -> None:
        self.leases: dict[str, Lease] = {}

    def create(self, lease: Lease) -> None:
        self.leases.setdefault(lease.shard_id, lease)

    def take(self, seen: Lease, me: str) -> Lease | None:
        now = self.leases[seen.shard_id]
        if (now.owner, now.fence, now.beat) != (seen.owner, seen.fence, seen.beat):
            return None
        return self._put(replace(now, owner=me, fence=now.fence + 1, beat=now.beat + 1))

    def beat(self, lease: Lease) -> bool:
        return self._mine(lease, lambda now: replace(now, beat=now.beat + 1))

    def move(self, lease: Lease, checkpoint: str) -> bool:
        return self._mine(lease, lambda now: replace(now, beat=now.beat + 1, checkpoint=checkpoint))

    def _mine(self, lease: Lease, change: Callable[[Lease], Lease]) -> bool:
        now = self.leases[lease.shard_id]
        if (now.owner, now.fence) != (lease.owner, lease.fence):
            return False
        self._put(change(now))
        return True

    def _put(self, lease: Lease) -> Lease:
        self.leases[lease.shard_id] = lease
        return lease


class Worker:
    """A process, as `Consumer` is one: it takes leases, reads, lands and moves checkpoints."""

    def __init__(self, name: str, stream: Stream, table: Table, landed: list[tuple[str, int]]) -> None:
        self.name, self.stream, self.table, self.landed = name, stream, table, landed
        self.sightings = Sightings()
        self.held: dict[str, tuple[Lease, int]] = {}
        self.takes = 0

    def turn(self, now: float) -> None:
        self.held = {name: pair for name, pair in self.held.items() if self.table.beat(pair[0])}
        leases, shards = dict(self.table.leases), self.stream.shards
        for lease in missing_leases(shards, leases):
            self.table.create(lease)
        leases = dict(self.table.leases)
        self.sightings.see(leases, now)
        expired = self.sightings.expired(now, LEASE_SECONDS)
        listed = {shard.shard_id for shard in shards}
        for lease in plan_takes(leases, listed, expired, self.held, self.name, 64):
            if taken := self.table.take(lease, self.name):
                self.takes += 1
                done = 0 if taken.checkpoint == TRIM_HORIZON else int(taken.checkpoint)
                self.held[lease.shard_id] = (taken, done)

    def read(self, shard_id: str, count: int) -> None:
        """Reads, lands and moves the checkpoint, without looking whether the lease is still its own."""
        lease, done = self.held[shard_id]
        there = self.stream.records[shard_id]
        position = sum(number <= done for number in there)
        for number in there[position : position + count]:
            for parent in self.stream.parents[shard_id]:
                assert self.table.leases[parent].is_ended, f"{shard_id} was read before {parent} had ended"
            self.landed.append((shard_id, number))
            done = number
        is_over = shard_id in self.stream.closed and done == (there[-1] if there else done)
        checkpoint = SHARD_END if is_over else str(done) if done else TRIM_HORIZON
        before = self.table.leases[shard_id].checkpoint
        if not self.table.move(lease, checkpoint):
            del self.held[shard_id]
            return
        assert before in (TRIM_HORIZON, checkpoint) or checkpoint == SHARD_END or int(before) <= int(checkpoint)
        self.held[shard_id] = (lease, done)
        if is_over:
            del self.held[shard_id]


@given(st.randoms(use_true_random=False))
def test_whatever_dies_or_stalls_all_is_landed_and_parents_come_before_children(rng: random.Random) -> None:
    stream, table, landed = Stream(), Table(), list[tuple[str, int]]()
    workers = [Worker(f"w{n}", stream, table, landed) for n in range(3)]
    alive, now = list(workers), 0.0
    for _ in range(rng.randrange(50, 250)):
        now += rng.choice([0, 1, 7, 7, 7, 40])
        act = rng.random()
        if act < 0.3:
            stream.put(rng)
        elif act < 0.36 and len(stream.records) < 20:
            stream.reshard(rng)
        elif act < 0.38 and len(alive) > 1:
            alive.remove(rng.choice(alive))  # killed: it never says so
        elif act < 0.4:
            alive.append(Worker(f"x{len(workers)}", stream, table, landed))
            workers.append(alive[-1])
        elif act < 0.7:
            rng.choice(alive).turn(now)  # who is not chosen for long has stalled, and reads on later
        elif held := [(worker, shard_id) for worker in workers for shard_id in worker.held]:
            worker, shard_id = rng.choice(held)  # a zombie too
            worker.read(shard_id, rng.randrange(4))
    for _ in range(60):
        now += LEASE_SECONDS / 4
        for worker in alive:
            worker.turn(now)
            for shard_id in list(worker.held):
                worker.read(shard_id, 1_000)
    assert {number for _, number in landed} == set(range(1, stream.written + 1))
    assert all(lease.is_ended == (name in stream.closed) for name, lease in table.leases.items())
    shares = [
        sum(lease.owner == worker.name for lease in table.leases.values() if not lease.is_ended) for worker in alive
    ]
    assert max(shares) - min(shares) <= 1
    takes = [worker.takes for worker in alive]
    for _ in range(10):
        now += LEASE_SECONDS / 4
        for worker in alive:
            worker.turn(now)
    assert takes == [worker.takes for worker in alive], "who has an even share leaves it at that"


def test_a_child_of_a_merge_waits_for_both_parents() -> None:
    child = Lease("c", ("a", "b"))
    leases = {"a": Lease("a", checkpoint=SHARD_END), "b": Lease("b", checkpoint="7"), "c": child}
    assert not is_readable(child, leases, {"a", "b", "c"})
    assert is_readable(child, leases | {"b": Lease("b", checkpoint=SHARD_END)}, {"a", "b", "c"})


def test_a_parent_without_a_lease_is_waited_for_as_long_as_it_is_listed() -> None:
    child = Lease("c", ("a",))
    assert not is_readable(child, {"c": child}, {"a", "c"})
    assert is_readable(child, {"c": child}, {"c"})


def test_leases_are_made_for_parents_first() -> None:
    shards = [Shard("d", ("c", "b")), Shard("c", ("a",)), Shard("b"), Shard("a")]
    made = [lease.shard_id for lease in missing_leases(shards, {})]
    assert sorted(made) == ["a", "b", "c", "d"] and made.index("a") < made.index("c") and made[-1] == "d"
    assert [lease.shard_id for lease in missing_leases(shards[:2], {"a": Lease("a")})] == ["c", "d"]
    line = [Shard(f"s{n}", (f"s{n - 1}",) if n else ()) for n in range(3_000)]
    assert missing_leases(line[::-1], {})[0] == Lease("s0")


def test_shards_that_are_listed_no_more_are_told_of() -> None:
    assert trimmed({"a": Lease("a"), "b": Lease("b")}, {"b"}) == [Lease("a")]


def test_no_more_shards_than_allowed_are_taken() -> None:
    leases = {f"s{n}": Lease(f"s{n}") for n in range(9)}
    assert len(plan_takes(leases, set(leases), set(), set(), "me", most=4)) == 4


def test_a_lease_that_is_ours_without_a_reader_is_taken_again() -> None:
    leases = {"a": Lease("a", owner="me", fence=3)}
    assert plan_takes(leases, {"a"}, set(), set(), "me", 9) == [leases["a"]]
    assert plan_takes(leases, {"a"}, set(), {"a"}, "me", 9) == []
    assert plan_takes({"a": Lease("a", fence=4)}, {"a"}, set(), {"a"}, "me", 9) == [], "its reader is still at an end"


def test_an_owner_that_is_only_seen_once_is_not_known_to_live() -> None:
    sightings, lease = Sightings(), Lease("a", owner="w", fence=1, beat=1)
    sightings.see({"a": lease}, 0)
    assert not sightings.is_alive(lease, 1, 15)
    assert sightings.expired(29, LEASE_SECONDS) == set()
    assert sightings.expired(30, LEASE_SECONDS) == {"a"}
    sightings.see({"a": replace(lease, beat=2)}, 31)
    assert sightings.is_alive(lease, 45, 15)
    assert not sightings.is_alive(lease, 46, 15), "it may have died since"
    assert sightings.expired(60, LEASE_SECONDS) == set()


@pytest.fixture
def leases(aws: AwsStandIn) -> LeaseTable:
    table = LeaseTable("leases", "lake stream", lambda: 17, aws.client("dynamodb"))
    table.ensure()
    table.ensure()
    return table


def test_the_table_refuses_what_was_planned_on_another_version(leases: LeaseTable) -> None:
    leases.create(Lease("a", ("p", "q")))
    leases.create(Lease("a", ("other",)))
    seen = leases.all()["a"].lease
    assert seen == Lease("a", ("p", "q"))
    mine = leases.take(seen, "me")
    assert mine == replace(seen, owner="me", fence=1, beat=1)
    assert leases.take(seen, "other") is None
    assert leases.beat(mine)
    assert leases.move(mine, "123", Counts(5, 2, 1))
    assert leases.move(mine, "124", Counts(1, 0, 0))
    theirs = leases.take(leases.all()["a"].lease, "other")
    assert theirs == Lease("a", ("p", "q"), "124", "other", fence=2, beat=5)
    assert not leases.move(mine, "999", Counts())
    assert not leases.beat(mine)
    leases.release(mine)
    leases.delete(mine)
    known = leases.all()["a"]
    assert (known.lease, known.counts, known.beat_us) == (theirs, Counts(6, 2, 1), 17)
    leases.release(theirs)
    assert leases.all()["a"].lease.owner == ""
    leases.delete(theirs)
    assert leases.all() == {}


def test_consumers_do_not_see_each_other_s_leases(leases: LeaseTable, aws: AwsStandIn) -> None:
    leases.create(Lease("a"))
    assert LeaseTable("leases", "another lake", lambda: 0, aws.client("dynamodb")).all() == {}


def test_taking_again_after_a_lost_answer_is_known_as_taken(leases: LeaseTable) -> None:
    leases.create(Lease("a"))
    seen = leases.all()["a"].lease
    mine = leases.take(seen, "me")
    assert leases.take(seen, "me") == mine
