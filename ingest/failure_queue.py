"""A queue of on-failure messages, redriven: a message goes once all that it tells of is safe, and not before."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from ingest.redrive import Redrive, Sink
from lake.aws import aws_client, aws_faults
from lake.dead_letters import Ids
from lake.errors import LakeError

MESSAGES_AT_ONCE = 10  # as many as SQS gives
STAYING_MAX = 10_000  # that are put into sight at once at the end; the rest comes by itself
WAIT_SECONDS = 1  # for an answer: it then asks all of the queue's servers


def redrive_queue(url: str, redrive: Redrive, sink: Sink, is_dry: bool = False) -> None:
    """Redrives the messages that a queue has, each once. Raises LakeError.

    What stays is put into sight again at the end, all of it after a dry run: who runs it next is to find it there.
    """
    client, seen = aws_client("sqs"), Ids()
    staying: deque[dict[str, Any]] = deque(maxlen=STAYING_MAX)
    try:
        while messages := _receive(client, url):
            fresh = [message for message in messages if seen.add(message["MessageId"])]
            staying.extend(messages)
            if not fresh:
                return
            taken = [message for message in fresh if redrive.document(_body(message), _place(url, message))]
            sink.flush()
            if not is_dry:
                _delete(client, url, taken)
                for message in taken:
                    staying.remove(message)
    finally:
        _show(client, url, list(staying))


def _receive(client: Any, url: str) -> list[dict[str, Any]]:
    with aws_faults("receive messages of", url):
        answer = client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=MESSAGES_AT_ONCE, WaitTimeSeconds=WAIT_SECONDS
        )
    return list(answer.get("Messages", []))


def _body(message: dict[str, Any]) -> Any:
    try:
        return msgspec.json.decode(message["Body"])
    except (msgspec.DecodeError, RecursionError):
        return None


def _place(url: str, message: dict[str, Any]) -> str:
    return f"{url} message {message['MessageId']}"


def _show(client: Any, url: str, messages: list[dict[str, Any]]) -> None:
    """Where the right to do that is missing, or a handle is out of date, the queue's own timeout does it."""
    for n in range(0, len(messages), MESSAGES_AT_ONCE):
        entries = [
            {"Id": str(n), "ReceiptHandle": one["ReceiptHandle"], "VisibilityTimeout": 0}
            for n, one in enumerate(messages[n : n + MESSAGES_AT_ONCE])
        ]
        try:
            with aws_faults("show messages of", url):
                client.change_message_visibility_batch(QueueUrl=url, Entries=entries)
        except LakeError:
            return


def _delete(client: Any, url: str, messages: list[dict[str, Any]]) -> None:
    """One that cannot be deleted comes again, and is known then."""
    if messages:
        entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
        with aws_faults("delete messages of", url):
            client.delete_message_batch(QueueUrl=url, Entries=entries)
