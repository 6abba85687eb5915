"""The stand-in as a server: moto, and between its DynamoDB, Kinesis and S3 what AWS does there, on one clock.

For tests and demonstrations of anything that reads a DynamoDB table's changes; its clients are boto3's, in this
process or another. It needs moto, flask and flask-cors::

    from standin.server import AwsStandIn

    def test_changes_land_as_objects():
        with AwsStandIn(seed=7, start_us=1_357_000_000_000_000) as aws:  # 2013-01-01 00:26:40 UTC
            dynamodb, s3 = aws.client("dynamodb"), aws.client("s3")
            stream_arn = aws.replicate("orders", bucket="raw", prefix="orders/")

            dynamodb.put_item(TableName="orders", Item={"pk": {"S": "o1"}, "total": {"N": "9.90"}})
            aws.clock.advance(seconds=30)
            dynamodb.delete_item(TableName="orders", Key={"pk": {"S": "o1"}})
            aws.deliver()

            [landed] = s3.list_objects_v2(Bucket="raw")["Contents"]
            assert landed["Key"].startswith("orders/2013/01/01/00/")
            body = s3.get_object(Bucket="raw", Key=landed["Key"])["Body"].read()
            lines = gzip.decompress(body).splitlines()
            assert [json.loads(line)["eventName"] for line in lines] == ["INSERT", "REMOVE"]
            assert aws.report.records == aws.report.changes == 2

The clock stands still unless ``rate`` says otherwise; move it by ``aws.clock.advance`` or ``set``, and what is
due happens before they return. A record arrives in its stream about ``replication_delay_seconds`` after its
write, so with a clock that stands still, not until it is moved.
"""

import json
import os
import threading
from collections.abc import Callable
from email.utils import formatdate
from types import TracebackType
from typing import Any, Self

import boto3
import botocore.config
import botocore.session
from moto.core.request import (
    PRESERVED_HEADER_NAMES_ENVIRON_KEY,
    environ_key_for_header,
    should_preserve_original_header_name,
)
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from standin.clock import Clock
from standin.destinations import ApiError
from standin.dynamodb_requests import DynamoDbRequests
from standin.faults import Faults, Report
from standin.history import Table
from standin.http_server import Environ, HttpServer, Response
from standin.kds import Precision
from standin.moto_state import moto_on
from standin.pipeline import Pipeline
from standin.stream_requests import StreamRequests

ACCOUNT = "123456789012"
REGION = "us-east-1"

_BACKGROUND_SECONDS = 0.02
# One request at a time: moto takes no locks. SQS is not among these, as its long polls wait.
_ONE_AT_A_TIME = {"dynamodb", "kinesis", "firehose", "s3", "glue", "cloudformation"}

_running = threading.Lock()


class AwsStandIn:
    """DynamoDB, Kinesis, Firehose, S3, SQS and Glue at one URL, from ``with`` to the end of its block.

    ``seed`` and ``faults`` are those of ``standin.kds_records`` and ``standin.firehose_objects``: with a clock
    that stands still, the same requests leave the same bytes. Counts in ``faults`` are for the whole life of the
    server: they strike now and then, and what is left of them at ``deliver``. Records are held back behind
    those of the same moment only, so where the clock is moved after each write, disorder needs
    ``disorder_seconds``. ``precision_switch_at`` has no meaning: UpdateKinesisStreamingDestination does that.

    ``start_us``, ``rate`` and ``tick_us`` are those of ``Clock``. A change arrives in the stream half to one and
    a half times ``replication_delay_seconds`` after its write. A streaming destination takes
    ``settling_seconds`` to become ACTIVE, UPDATING to end, and so on: with 0, it is so at once. An expired item
    is deleted on the hour, up to ``ttl_delay_hours`` late. ``empty_pages`` is the rate of Scan pages that come
    empty, with a LastEvaluatedKey to go on from.

    moto keeps its state in the process: one server at a time, RuntimeError for a second. What fails inside, in
    a request or in the background, is raised by the next call or at the end of the block.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        faults: Faults | None = None,
        start_us: int | None = None,
        rate: float = 0.0,
        tick_us: int = 1,
        replication_delay_seconds: float = 0.25,
        settling_seconds: float = 0.0,
        ttl_delay_hours: float = 4.0,
        empty_pages: float = 0.0,
    ) -> None:
        if not 0 <= empty_pages < 1:
            raise ValueError(f"empty_pages is a rate, 0 to less than 1; got {empty_pages}")
        if min(replication_delay_seconds, settling_seconds, ttl_delay_hours) < 0:
            raise ValueError("delays must not be negative")
        self.clock = Clock(start_us, rate, tick_us=tick_us)
        self._report = Report()
        self._lock = threading.RLock()
        self._pipeline = Pipeline(
            self.clock,
            seed=seed,
            faults=faults or Faults.none(),
            report=self._report,
            replication_delay_us=round(replication_delay_seconds * 1_000_000),
            ttl_delay_us=round(ttl_delay_hours * 3_600_000_000),
        )
        self._dynamodb = DynamoDbRequests(
            self.clock,
            self._pipeline,
            account=ACCOUNT,
            settling_us=round(settling_seconds * 1_000_000),
            empty_pages=empty_pages,
        )
        self._streams = StreamRequests(self.clock, self._pipeline, account=ACCOUNT)
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._moto_on = moto_on(self.clock)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server: HttpServer | None = None
        self._background: threading.Thread | None = None
        self._session: boto3.session.Session | None = None
        self.clock.on_move(self._moved)

    def __enter__(self) -> Self:
        if not _running.acquire(blocking=False):
            raise RuntimeError(
                "another AwsStandIn is running in this process, and moto's state is the process's own; "
                "leave its block first, or run one of them in a process of its own"
            )
        self._moto_on.__enter__()
        self._server = HttpServer(self._answer)
        self._server.start()
        if self.clock.rate:
            self._background = threading.Thread(target=self._keep_up, name="standin-clock")
            self._background.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None, "left but never entered"
        self._stopping.set()
        self._server.stop()
        if self._background is not None:
            self._background.join()
        self._moto_on.__exit__(None, None, None)
        _running.release()
        if error is None:
            self._surface()
        elif self._failure is not None:
            error.add_note(f"The stand-in failed inside, too: {self._failure!r}")

    @property
    def endpoint_url(self) -> str:
        """Where the server is: every service at one URL, told apart by the signature of a request."""
        if self._server is None:
            raise RuntimeError("the stand-in is not running; use it as `with AwsStandIn() as aws:`")
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client in a child process, or under monkeypatch, needs to come here and to nowhere else.

        Other AWS_ variables of the machine (AWS_PROFILE, AWS_SESSION_TOKEN) are to be taken away:
        ``child_environment`` does so.
        """
        proxied = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1"]))
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "standin",
            "AWS_SECRET_ACCESS_KEY": "standin",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": proxied,
            "no_proxy": proxied,
        }

    def child_environment(self) -> dict[str, str]:
        """The environment of this process, with nothing of AWS in it but the stand-in."""
        return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | self.environment

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of the stand-in; ``options`` are those of ``boto3.client``."""
        self._surface()
        with self._lock:
            if self._session is None:
                self._session = _isolated_session()
            config = botocore.config.Config(proxies={}).merge(options.pop("config", None) or botocore.config.Config())
            return self._session.client(service, endpoint_url=self.endpoint_url, config=config, **options)

    @property
    def report(self) -> Report:
        """What was sent so far and what went wrong, exactly; it grows as the clock moves."""
        self._surface()
        return self._report

    def history(self, table: str, region: str = REGION) -> Table:
        """A table with all its changes, as ``standin.Table``; KeyError if there is no such table."""
        self._surface()
        with self._lock:
            return self._dynamodb.history(table, region)

    def deliver(self) -> None:
        """Move the clock on until all that was written has reached its streams, and S3 through every Firehose.

        Late and rewritten objects are waited for, counted faults that have not struck yet strike now, as far as
        there is something left to strike, and items that expire on the way are deleted and delivered. Other
        threads' requests wait meanwhile.
        """
        self._surface()
        with self._lock:
            self._pipeline.finish()

    def replicate(
        self,
        table: str,
        *,
        bucket: str,
        prefix: str = "",
        hash_key: tuple[str, str] = ("pk", "S"),
        range_key: tuple[str, str] | None = None,
        buffer_seconds: int = 60,
        precision: Precision = "MICROSECOND",
    ) -> str:
        """Set up the usual path with boto3: table, stream, Firehose, bucket. Returns the stream's ARN.

        The stream is named like the table, has four shards, and is made, like the bucket, if it is not there;
        the Firehose writes gzip with a newline after each record.
        """
        dynamodb, kinesis, s3 = self.client("dynamodb"), self.client("kinesis"), self.client("s3")
        keys = [(*hash_key, "HASH"), *([(*range_key, "RANGE")] if range_key else [])]
        dynamodb.create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind, _ in keys],
            KeySchema=[{"AttributeName": name, "KeyType": role} for name, _, role in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        s3.create_bucket(Bucket=bucket)
        stream_arn = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{table}"
        if table not in kinesis.list_streams()["StreamNames"]:
            kinesis.create_stream(StreamName=table, ShardCount=4)
        newline = {"ParameterName": "Delimiter", "ParameterValue": "\\n"}
        self.client("firehose").create_delivery_stream(
            DeliveryStreamName=table,
            DeliveryStreamType="KinesisStreamAsSource",
            KinesisStreamSourceConfiguration={"KinesisStreamARN": stream_arn, "RoleARN": _ROLE_ARN},
            ExtendedS3DestinationConfiguration={
                "RoleARN": _ROLE_ARN,
                "BucketARN": f"arn:aws:s3:::{bucket}",
                "Prefix": prefix,
                "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": buffer_seconds},
                "CompressionFormat": "GZIP",
                "ProcessingConfiguration": {
                    "Enabled": True,
                    "Processors": [{"Type": "AppendDelimiterToRecord", "Parameters": [newline]}],
                },
            },
        )
        dynamodb.enable_kinesis_streaming_destination(
            TableName=table,
            StreamArn=stream_arn,
            EnableKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": precision},
        )
        return stream_arn

    def _answer(self, environ: Environ, body: bytes) -> Response:
        """Any request: one at a time where moto needs it, dated by the clock as it was when it was answered."""
        service, region = _scope(environ)
        if service not in _ONE_AT_A_TIME:
            return self._dated(self._ask_moto(environ))
        with self._lock:
            try:
                if self._pipeline.due():
                    self._pipeline.run()
                response = self._answer_alone(environ, body, service, region)
            except ApiError as error:
                refusal = json.dumps({"__type": error.code, "message": error.message})
                response = _json(400, refusal)
            except Exception as error:
                self._failure = self._failure or error
                response = _json(500, json.dumps({"__type": "InternalFailure", "message": repr(error)}))
            return self._dated(response)

    def _answer_alone(self, environ: Environ, body: bytes, service: str, region: str) -> Response:
        prefix, _, action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")
        target = prefix.partition("_")[0]
        if target == "DynamoDB":
            answer = self._dynamodb.answer(action, region, body)
            if answer is not None:
                return _json(200, answer)
            response = self._ask_moto(environ)
            self._dynamodb.answered(action, region, body, response.status)
            return response
        if target in ("Kinesis", "Firehose"):
            self._streams.check(action, body)
            response = self._ask_moto(environ)
            if response.status < 400:
                self._streams.answered(target, action, region, body, response.body)
            return response
        response = self._ask_moto(environ)
        if service == "cloudformation":
            self._dynamodb.answered("CreateTable", region, body, response.status)
            self._streams.answered("Firehose", "CreateDeliveryStream", region, body, response.body)
        return response

    def _ask_moto(self, environ: Environ) -> Response:
        environ[PRESERVED_HEADER_NAMES_ENVIRON_KEY] = {
            environ_key_for_header(name): name
            for name, _ in environ["standin.headers"]
            if should_preserve_original_header_name(name)
        }
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], None]:
            started[:] = [int(status.partition(" ")[0]), headers]
            return lambda _: None

        try:
            chunks = self._moto(environ, start_response)
            try:
                body = b"".join(chunks)
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
        except NotImplementedError as error:
            # Not a 500, which clients would try again.
            return _json(501, json.dumps({"__type": "NotImplemented", "message": f"moto: {error}"}))
        except Exception as error:
            return _json(500, json.dumps({"__type": "InternalFailure", "message": f"moto: {error!r}"}))
        return Response(started[0], started[1], body)

    def _dated(self, response: Response) -> Response:
        date = formatdate(self.clock.now_us() // 1_000_000, usegmt=True)
        headers = [(name, value) for name, value in response.headers if name.lower() != "date"]
        return Response(response.status, [*headers, ("Date", date)], response.body)

    def _moved(self) -> None:
        self._surface()
        with self._lock:
            self._pipeline.run()

    def _keep_up(self) -> None:
        while not self._stopping.wait(_BACKGROUND_SECONDS):
            with self._lock:
                try:
                    if self._pipeline.due():
                        self._pipeline.run()
                except Exception as error:
                    self._failure = self._failure or error
                    return

    def _surface(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise RuntimeError(f"the stand-in failed inside: {failure}") from failure


_ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/standin"


def _scope(environ: Environ) -> tuple[str, str]:
    """The service and the region a request was signed for; unsigned ones are taken for S3's."""
    credential = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition(",")[0].split("/")
    return (credential[3].lower(), credential[2]) if len(credential) == 5 else ("s3", REGION)


def _json(status: int, text: str) -> Response:
    return Response(status, [("Content-Type", "application/x-amz-json-1.0")], text.encode())


def _isolated_session() -> boto3.session.Session:
    """A session that reads nothing of the machine's own AWS settings."""
    ours = {"profile": None, "config_file": os.devnull, "credentials_file": os.devnull, "region": REGION}
    session = botocore.session.Session({name: (None, None, value, None) for name, value in ours.items()})
    session.set_credentials("standin", "standin")
    return boto3.session.Session(botocore_session=session, region_name=REGION)
