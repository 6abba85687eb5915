"""Kinesis' and Firehose's requests on moto: what producers put, and which delivery streams read what."""

import base64
import json
from typing import Any

from moto.firehose.models import firehose_backends

from standin.clock import Clock
from standin.destinations import ApiError
from standin.firehose import FirehoseBuffers
from standin.kds import KinesisRecord
from standin.pipeline import DeliveryStream, Pipeline, moto_stream

_MIB = 1024 * 1024
_TIMES = "!{timestamp:yyyy/MM/dd/HH}/"  # what Firehose puts after a prefix without expressions
_BUFFER_MIB = 5
_BUFFER_SECONDS = 300


class StreamRequests:
    """Checks and takes up what goes to Kinesis and to Firehose. Its owner holds a lock."""

    def __init__(self, clock: Clock, pipeline: Pipeline, *, account: str) -> None:
        self._clock = clock
        self._pipeline = pipeline
        self._account = account

    def check(self, action: str, body: bytes) -> None:
        """ApiError for a delivery stream that Firehose, or this stand-in, would not make."""
        if action not in ("CreateDeliveryStream", "UpdateDestination"):
            return
        request = json.loads(body)
        for field in ("ExtendedS3DestinationConfiguration", "S3DestinationConfiguration"):
            _options(request.get(field) or {})
        for field in ("ExtendedS3DestinationUpdate", "S3DestinationUpdate"):
            _options(request.get(field) or {})
        stream_arn = (request.get("KinesisStreamSourceConfiguration") or {}).get("KinesisStreamARN")
        if stream_arn is not None:
            try:
                moto_stream(stream_arn)
            except (KeyError, ValueError):
                raise ApiError(
                    "InvalidArgumentException", f"Kinesis stream {stream_arn} was not found; create it first"
                ) from None

    def answered(self, service: str, action: str, region: str, body: bytes, answer: bytes) -> None:
        """Take up what a successful request did."""
        if service == "Firehose" and action in ("CreateDeliveryStream", "DeleteDeliveryStream", "UpdateDestination"):
            self._follow_delivery_streams(region)
        elif service == "Kinesis" and action in ("PutRecord", "PutRecords"):
            self._put(region, json.loads(body), json.loads(answer))

    def _put(self, region: str, request: dict[str, Any], answer: dict[str, Any]) -> None:
        stream_arn = request.get("StreamARN")
        stream_arn = stream_arn or f"arn:aws:kinesis:{region}:{self._account}:stream/{request['StreamName']}"
        records, places = request.get("Records", [request]), answer.get("Records", [answer])
        for record, place in zip(records, places, strict=True):
            if "SequenceNumber" in place:
                self._pipeline.put(
                    KinesisRecord(
                        data=base64.b64decode(record["Data"]),
                        partition_key=record["PartitionKey"],
                        sequence_number=place["SequenceNumber"],
                        shard_id=place["ShardId"],
                        arrived_at_us=self._clock.now_us(),
                    ),
                    stream_arn,
                )

    def _follow_delivery_streams(self, region: str) -> None:
        present = firehose_backends[self._account][region].delivery_streams
        known = self._pipeline.delivery_streams
        for arn in [arn for arn in known if arn.split(":")[3] == region]:
            if known[arn].name not in present:
                del known[arn]
        for name, made in present.items():
            source = made.source or {}
            configuration = made.destinations[0].get("ExtendedS3") or made.destinations[0].get("S3")
            if "KinesisStreamARN" not in source or configuration is None:
                continue
            options = _options(configuration)
            bucket = configuration["BucketARN"].rpartition(":")[2]
            delivery_stream = known.get(made.delivery_stream_arn)
            if delivery_stream is not None:
                delivery_stream.bucket = bucket
                for option, value in options.items():
                    setattr(delivery_stream.buffers, option, value)
                continue
            # It starts at LATEST: what is in the stream already is not for it.
            buffers = FirehoseBuffers(
                seed=f"{self._pipeline.seed}/{made.delivery_stream_arn}",
                stream=name,
                faults=self._pipeline.faults,
                report=self._pipeline.report,
                left=self._pipeline.left,
                **options,
            )
            known[made.delivery_stream_arn] = DeliveryStream(
                name, source["KinesisStreamARN"], bucket, self._account, buffers
            )


def _options(configuration: dict[str, Any]) -> dict[str, Any]:
    """How a delivery stream buffers and writes, with Firehose's defaults.

    https://docs.aws.amazon.com/firehose/latest/APIReference/API_ExtendedS3DestinationConfiguration.html
    """
    hints = configuration.get("BufferingHints") or {}
    prefix = (configuration.get("Prefix") or "").removesuffix(_TIMES)
    compression = configuration.get("CompressionFormat") or "UNCOMPRESSED"
    if "!{" in prefix:
        raise ApiError(
            "InvalidArgumentException",
            f"Prefix {prefix}: this stand-in takes a prefix as text and puts YYYY/MM/dd/HH/ after it; "
            f"expressions are not supported, but for {_TIMES} at its end",
        )
    if compression not in ("GZIP", "UNCOMPRESSED"):
        raise ApiError(
            "InvalidArgumentException",
            f"CompressionFormat {compression}: this stand-in writes GZIP or UNCOMPRESSED",
        )
    mib, seconds = hints.get("SizeInMBs", _BUFFER_MIB), hints.get("IntervalInSeconds", _BUFFER_SECONDS)
    if not (1 <= mib <= 128 and 0 <= seconds <= 900):
        raise ApiError(
            "InvalidArgumentException",
            f"BufferingHints take 1 to 128 MB and 0 to 900 seconds; got {mib} MB, {seconds} s",
        )
    return {
        "prefix": prefix,
        "buffer_bytes": mib * _MIB,
        "buffer_seconds": seconds,
        "gzip": compression == "GZIP",
        "delimiter": _has_delimiter(configuration.get("ProcessingConfiguration") or {}),
    }


def _has_delimiter(processing: dict[str, Any]) -> bool:
    """Whether records are parted by a newline; ApiError for any other processing."""
    if not processing.get("Enabled"):
        return False
    for processor in processing.get("Processors", ()):
        parameters = {one["ParameterName"]: one["ParameterValue"] for one in processor.get("Parameters", ())}
        if processor["Type"] != "AppendDelimiterToRecord" or parameters.get("Delimiter", "\\n") != "\\n":
            raise ApiError(
                "InvalidArgumentException",
                f"Processor {processor['Type']} {parameters}: this stand-in knows AppendDelimiterToRecord with the "
                r"delimiter \n only",
            )
    return bool(processing.get("Processors"))
