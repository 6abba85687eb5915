"""`consume` behind a proxy that fails as AWS does: `make test-extra EXTRA="-k microburst"`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from standin.faults import Faults
from standin.server import AwsStandIn
from tests.accounts import create, enable
from tests.consuming import Running, check_exact, consume_once, wait_for, write
from tests.extra.servers import microburst
from tests.lakes import new_lake

pytestmark = [
    pytest.mark.extra,
    pytest.mark.parametrize("aws", [{"seed": 4, "faults": Faults.typical()}], indirect=True),
]

RULES = [
    {"service": "kinesis", "operation": "GetRecords", "probability": 0.2,
     "error": {"code": "ProvisionedThroughputExceededException"}},
    {"service": "kinesis", "operation": "GetRecords", "probability": 0.1,
     "error": {"code": "ExpiredIteratorException"}},
    {"service": "kinesis", "operation": "GetRecords", "probability": 0.1, "response": {"abort_frac": 0.5}},
    {"service": "kinesis", "operation": "GetRecords", "probability": 0.1, "response": {"truncate_frac": 0.5}},
    {"service": "kinesis", "operation": "GetShardIterator", "probability": 0.1, "reset": True},
    {"service": "dynamodb", "operation": "UpdateItem", "probability": 0.15,
     "error": {"code": "ProvisionedThroughputExceededException"}},
    {"service": "dynamodb", "operation": "UpdateItem", "probability": 0.15, "response": {"abort_bytes": 0}},
    {"service": "dynamodb", "operation": "Query", "probability": 0.1, "error": {"code": "InternalServerError"}},
    {"service": "s3", "operation": "PutObject", "probability": 0.2, "error": {"code": "SlowDown", "status": 503}},
    {"service": "s3", "operation": "PutObject", "probability": 0.2, "response": {"abort_bytes": 0}},
    {"service": "s3", "operation": "PutObject", "probability": 0.1, "latency": {"min": 100, "max": 500}},
]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_microburst_in_front_of_everything(aws: AwsStandIn, tmp_path: Path, seed: int) -> None:
    """Two processes' worth of readers, a stream that goes on, and a third of all requests going wrong."""
    enable(aws, create(aws))
    lake = new_lake("s3://raw/lake")
    with microburst(tmp_path, aws.endpoint_url, RULES) as fired:
        workers = [Running(lake) for _ in range(2)]
        for n in range(6):
            write(aws, 10 * seed + n, 60)
            aws.clock.advance(2)
            time.sleep(0.5)
        aws.deliver()
        wait_for(lambda: sum(one.consumer._progress.records for one in workers) >= aws.report.records, "read on")
        wait_for(lambda: len({name.split()[0] for name in fired()}) >= 4, "struck everywhere")
        for one in workers:
            one.end()
    consume_once(lake)  # what was lost to another when there was an end
    check_exact(aws, lake)
