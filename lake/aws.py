"""AWS: clients made in one way, and what they raise as this project's errors, each with what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from lake.errors import ConfigError, LakeError, Throttled, TransientError

T = TypeVar("T")
ATTEMPTS_MAX = 8  # of one request, with botocore's growing waits between: about a minute
CONNECT_SECONDS_MAX = 10
READ_SECONDS_MAX = 30  # an endpoint that is silent for longer hangs
CONNECTIONS_MAX = 64

_RENEW = "Renew the credentials, then run it again; it goes on from where it was"
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_REFUSED = {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch",
            "InvalidSignatureException", "AuthFailure", "MissingAuthenticationToken"}  # fmt: skip
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "AllAccessDisabled",
           "403"}  # fmt: skip
_MISSING = {"ResourceNotFoundException", "NoSuchBucket", "NoSuchKey", "EntityNotFoundException",
            "TableNotFoundException", "404"}  # fmt: skip
_THROTTLED = {"ProvisionedThroughputExceededException", "ThrottlingException", "Throttling", "RequestLimitExceeded",
              "LimitExceededException", "TooManyRequestsException", "SlowDown", "RequestThrottled",
              "KMSThrottlingException"}  # fmt: skip
BAD_REQUEST = 400
SERVER_ERROR = 500
_AWS_HOST = re.compile(r"\.amazonaws\.com(\.cn)?(:\d+)?/?$")


@lru_cache(maxsize=32)
def _cached_client(service: str, session: Any, attempts: int | None) -> Any:
    from botocore.config import Config

    settings: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS_MAX, "read_timeout": READ_SECONDS_MAX,
                                "max_pool_connections": CONNECTIONS_MAX}  # fmt: skip
    if attempts is None and session.get_config_variable("max_attempts") is None:  # else the user has said how often
        attempts = ATTEMPTS_MAX
    if attempts is not None:
        settings["retries"] = {"mode": "standard", "total_max_attempts": attempts}
    return session.create_client(service, config=Config(**settings))


def aws_client(service: str, attempts: int | None = None) -> Any:
    """A boto3 client by the standard settings (profiles, AWS_ENDPOINT_URL, …). Raises ConfigError.

    `attempts` at a request, where they must be so many and no others. Clients may be shared by threads. botocore
    renews temporary credentials by itself where it can.
    """
    with aws_faults(f"reach {service}", ""):
        try:
            return _cached_client(service, _session(), attempts)
        except ValueError as fault:  # an endpoint that is no URL
            raise ConfigError(f"reach {service}", "", got=str(fault), remedy="Check the AWS settings") from fault


_ANSWER = "dynalake"  # where the text of an answer is passed through botocore


def take_as_text(client: Any, service: str, *operations: str) -> None:
    """Has answers to these operations pass by botocore's parser, which builds an object of every value."""
    for operation in operations:
        client.meta.events.register(
            f"before-parse.{service}.{operation}", _pass_by, unique_id=f"dynalake-{service}-{operation}"
        )


def _pass_by(response_dict: Any, customized_response_dict: Any, **_: Any) -> None:
    if response_dict["status_code"] == 200:
        customized_response_dict[_ANSWER] = response_dict["body"]
        response_dict["body"] = b"{}"


_REFUSAL = "dynalake-refusal"  # where a throttle is kept from botocore, as it tells errors


def raise_throttles(client: Any, service: str, *operations: str) -> None:
    """Has a throttle of these operations raised at once, past botocore's retries: for who lowers his pace instead."""
    for operation in operations:
        client.meta.events.register(
            f"before-parse.{service}.{operation}", _hide_throttle, unique_id=f"dynalake-throttle-{service}-{operation}"
        )


def _hide_throttle(response_dict: Any, customized_response_dict: Any, **_: Any) -> None:
    """botocore tries again what its parser finds to be an error: it finds none here, and raises by the status."""
    if response_dict["status_code"] != BAD_REQUEST:
        return
    try:
        told = msgspec.json.decode(response_dict["body"], type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    code = told.type.rpartition("#")[2].partition(":")[0]
    if code in _THROTTLED:
        customized_response_dict[_REFUSAL] = {"Code": code, "Message": told.message or told.Message}
        response_dict |= {"status_code": 200, "body": b"{}"}


class _Refusal(msgspec.Struct):
    type: str = msgspec.field(name="__type")
    message: str = ""
    Message: str = ""


def answer_of(answer: Any, decoder: msgspec.json.Decoder[T], service: str) -> T:
    """An answer that was taken as text. Raises TransientError where that is not the JSON it should be."""
    try:
        return decoder.decode(answer[_ANSWER])
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise TransientError("read", f"an answer of {service}", expected="its JSON", got=str(fault),
                             remedy="Run it again") from fault  # fmt: skip


def _session() -> Any:
    import boto3

    if boto3.DEFAULT_SESSION is None:
        boto3.setup_default_session()
    return boto3.DEFAULT_SESSION._session


def s3_access() -> tuple[str, str, str | None, str | None, str | None]:
    """For engines of their own: key, secret, session token, Region, and the endpoint where it is not AWS' own."""
    from botocore.exceptions import NoCredentialsError

    client = aws_client("s3")
    with aws_faults("reach s3", ""):
        credentials = _session().get_credentials()
        if credentials is None:
            raise NoCredentialsError
        frozen = credentials.get_frozen_credentials()
    endpoint = client.meta.endpoint_url
    is_aws = bool(_AWS_HOST.search(endpoint))
    return frozen.access_key, frozen.secret_key, frozen.token, client.meta.region_name, None if is_aws else endpoint


@contextmanager
def aws_faults(operation: str, identity: object, remedy: str = "") -> Iterator[None]:
    """Turns what boto3 raises into TransientError (worth another try), ConfigError or LakeError.

    `remedy` stands where the fault says nothing better. botocore has tried again already where that helps.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as fault:
        raise _of_answer(operation, identity, fault, remedy) from fault
    except (BotoCoreError, ResponseParserError) as fault:  # the latter is none of botocore's own family
        raise _of_client(operation, identity, fault, remedy) from fault


def error_code(fault: Any) -> str:
    """The code of a ClientError, such as `ConditionalCheckFailedException`."""
    return str(_refusal(fault).get("Code", ""))


def _refusal(fault: Any) -> Any:
    return fault.response.get(_REFUSAL) or fault.response.get("Error", {})


def _of_answer(operation: str, identity: object, fault: Any, remedy: str) -> LakeError:
    code, status = error_code(fault), fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind: type[LakeError] = ConfigError
    if code in _EXPIRED:
        expected, remedy = "credentials that have not expired", _RENEW
    elif code in _REFUSED:
        expected, remedy = "credentials that AWS knows", "Check the AWS credentials and the Region"
    elif code in _DENIED:
        expected, remedy = "the right to do so", "Give the role the permission that is named"
    elif code in _MISSING:
        expected, remedy = "one that is there", "Check the name, the Region and the account"
    elif code in _THROTTLED:
        kind, expected = Throttled, "capacity left"
        remedy = "Run it again later, or raise the table's capacity; nothing is lost"
    elif status >= SERVER_ERROR:
        kind, expected, remedy = TransientError, "an answer", "Run it again; if it persists, see AWS' health page"
    else:
        kind, expected = LakeError, ""
    return kind(operation, identity, expected=expected, got=f"{code}: {_message(fault)}", remedy=remedy)


def _message(fault: Any) -> str:
    return str(_refusal(fault).get("Message", "") or fault)


def _of_client(operation: str, identity: object, fault: Exception, remedy: str) -> LakeError:
    from botocore import exceptions as of

    if isinstance(fault, of.NoCredentialsError | of.PartialCredentialsError | of.CredentialRetrievalError):
        return ConfigError(operation, identity, expected="AWS credentials", got=str(fault),
                           remedy="Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")  # fmt: skip
    if isinstance(fault, of.TokenRetrievalError | of.UnauthorizedSSOTokenError):
        return ConfigError(operation, identity, expected="credentials that have not expired", got=str(fault),
                           remedy=_RENEW)  # fmt: skip
    if isinstance(fault, of.HTTPClientError | of.ConnectionError | of.IncompleteReadError):
        return TransientError(operation, identity, expected="an answer within the time allowed", got=str(fault),
                              remedy="Check the network and AWS_ENDPOINT_URL, then run it again")  # fmt: skip
    return ConfigError(operation, identity, got=str(fault), remedy=remedy or "Check the AWS settings")
