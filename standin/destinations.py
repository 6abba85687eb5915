"""The Kinesis streaming destination of a table: its states, its answers and its errors, as DynamoDB gives them.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_EnableKinesisStreamingDestination.html. What
the reference leaves open (that a missing stream is accepted and fails later, the texts of the errors) is as
seen on AWS and published by others.
"""

from dataclasses import dataclass
from typing import Any

from standin.encoder import Precision

_INVALID_STATE = "Table is not in a valid state to enable Kinesis Streaming Destination: "


class ApiError(Exception):
    """An error as the service answers it: HTTP 400 with a code and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(slots=True)
class Destination:
    """One stream that a table was told to replicate into. ``settles_at_us``: when it leaves a passing state."""

    stream_arn: str
    status: str
    settles_at_us: int
    precision: Precision | None
    stream_exists: bool = True

    def settle(self, now_us: int) -> None:
        """Go from ENABLING or UPDATING to ACTIVE, from DISABLING to DISABLED, once it is time."""
        if now_us < self.settles_at_us:
            return
        match self.status:
            case "ENABLING":
                self.status = "ACTIVE" if self.stream_exists else "ENABLE_FAILED"
            case "UPDATING":
                self.status = "ACTIVE"
            case "DISABLING":
                self.status = "DISABLED"
                self.precision = None

    def describe(self) -> dict[str, Any]:
        """As DescribeKinesisStreamingDestination gives it: the precision only if one was ever set."""
        description: dict[str, Any] = {"StreamArn": self.stream_arn, "DestinationStatus": self.status}
        if self.status == "ENABLE_FAILED":
            description["DestinationStatusDescription"] = "User does not have a permission to use kinesis stream"
        if self.precision is not None:
            description["ApproximateCreationDateTimePrecision"] = self.precision
        return description


class Destinations:
    """The destinations of one table; at most one of them is at work."""

    def __init__(self, table: str, settling_us: int) -> None:
        self._table = table
        self._settling_us = settling_us
        self._by_stream: dict[str, Destination] = {}

    def at_work(self, now_us: int) -> Destination | None:
        """The destination that changes made now go to, if there is one."""
        for destination in self._by_stream.values():
            destination.settle(now_us)
            if destination.status in ("ACTIVE", "UPDATING"):
                return destination
        return None

    def enable(self, request: dict[str, Any], now_us: int, stream_exists: bool) -> dict[str, Any]:
        """EnableKinesisStreamingDestination. A stream that does not exist is found out later: ENABLE_FAILED."""
        configuration = request.get("EnableKinesisStreamingConfiguration") or {}
        precision = _precision(configuration, "enableKinesisStreamingConfiguration")
        for destination in self._by_stream.values():
            destination.settle(now_us)
            if destination.status not in ("DISABLED", "ENABLE_FAILED"):
                raise ApiError(
                    "ValidationException",
                    f"{_INVALID_STATE}EnableKinesisStreamingDestination must be DISABLED or ENABLE_FAILED "
                    "to perform ENABLE operation.",
                )
        stream_arn = request["StreamArn"]
        self._by_stream[stream_arn] = Destination(
            stream_arn, "ENABLING", now_us + self._settling_us, precision, stream_exists
        )
        answer = {"TableName": self._table, "StreamArn": stream_arn, "DestinationStatus": "ENABLING"}
        return answer | ({"EnableKinesisStreamingConfiguration": configuration} if configuration else {})

    def update(self, request: dict[str, Any], now_us: int) -> dict[str, Any]:
        """UpdateKinesisStreamingDestination: the live switch of the precision. MILLISECOND unless ever set."""
        configuration = request.get("UpdateKinesisStreamingConfiguration") or {}
        precision = _precision(configuration, "updateKinesisStreamingConfiguration")
        stream_arn = request["StreamArn"]
        destination = self._by_stream.get(stream_arn)
        if destination is None:
            raise ApiError(
                "ValidationException",
                f"{_INVALID_STATE}No streaming destination with streamArn: {stream_arn} found for table with "
                f"tableName: {self._table}",
            )
        destination.settle(now_us)
        if destination.status != "ACTIVE":
            raise ApiError(
                "ValidationException",
                f"{_INVALID_STATE}Kinesis streaming is not in ACTIVE state. Updates are only allowed in ACTIVE "
                f"state. TableName: {self._table}, kdsArn: {stream_arn}",
            )
        if precision is None:
            raise ApiError(
                "ValidationException",
                "Streaming destination cannot be updated with given parameters: "
                "UpdateKinesisStreamingConfiguration cannot be null or contain only null values",
            )
        if precision == (destination.precision or "MILLISECOND"):
            raise ApiError(
                "ValidationException",
                f"Invalid Request: Precision is already set to the desired value of {precision} for table: "
                f"{self._table}, kdsArn: {stream_arn}",
            )
        destination.precision = precision
        destination.status, destination.settles_at_us = "UPDATING", now_us + self._settling_us
        return {
            "TableName": self._table,
            "StreamArn": stream_arn,
            "DestinationStatus": "UPDATING",
            "UpdateKinesisStreamingConfiguration": configuration,
        }

    def disable(self, request: dict[str, Any], now_us: int) -> dict[str, Any]:
        """DisableKinesisStreamingDestination; what was written before still arrives."""
        destination = self._by_stream.get(request["StreamArn"])
        if destination is not None:
            destination.settle(now_us)
        if destination is None or destination.status != "ACTIVE":
            raise ApiError(
                "ValidationException",
                f"{_INVALID_STATE}KinesisStreamingDestination must be ACTIVE to perform DISABLE operation.",
            )
        destination.status, destination.settles_at_us = "DISABLING", now_us + self._settling_us
        return {"TableName": self._table, "StreamArn": destination.stream_arn, "DestinationStatus": "DISABLING"}

    def describe(self, now_us: int) -> dict[str, Any]:
        """DescribeKinesisStreamingDestination."""
        for destination in self._by_stream.values():
            destination.settle(now_us)
        return {
            "TableName": self._table,
            "KinesisDataStreamDestinations": [one.describe() for one in self._by_stream.values()],
        }


def _precision(configuration: dict[str, Any], place: str) -> Precision | None:
    precision = configuration.get("ApproximateCreationDateTimePrecision")
    if precision not in (None, "MILLISECOND", "MICROSECOND"):
        raise ApiError(
            "ValidationException",
            f"1 validation error detected: Value '{precision}' at '{place}.approximateCreationDateTimePrecision' "
            "failed to satisfy constraint: Member must satisfy enum value set: [MILLISECOND, MICROSECOND]",
        )
    return "MILLISECOND" if precision == "MILLISECOND" else "MICROSECOND" if precision else None
