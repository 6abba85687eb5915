"""A stand-in for the AWS path from a DynamoDB table to raw objects, for tests, on the standard library alone.

Kinesis Data Streams for DynamoDB, native DynamoDB Streams, Firehose and exports to S3 as functions of a table's
history, a seed and faults: no server, no wall clock, and the same arguments give the same bytes.
(``standin.server`` puts them between moto's DynamoDB, Kinesis and S3, for boto3; it is not imported here.) For
example::

    from standin import Faults, Report, Table, firehose_objects, kds_records

    def test_my_reader_survives_a_bad_day():
        table = Table("orders", hash_key=("pk", "S"), range_key=None)
        table.put({"pk": {"S": "o1"}, "total": {"N": "9.90"}}, at_us=1_721_011_165_891_550)
        table.put({"pk": {"S": "o1"}, "total": {"N": "12"}}, at_us=1_721_011_165_991_550)
        table.delete({"pk": {"S": "o1"}}, at_us=1_721_011_166_000_000, ttl=True)

        report = Report()
        faults = Faults(duplicates=0.5, disorder=0.5, poison=1)
        records = kds_records(table, seed=7, faults=faults, report=report)
        objects = firehose_objects(records, seed=7, faults=faults, report=report)

        reader = my_reader([(delivery.key, delivery.body) for delivery in objects])
        assert reader.items == table.items
        assert reader.duplicates_dropped == len(report.duplicates)
        assert reader.dead_letters == [poison.payload for poison in report.poison]
"""

from standin.exports import ExportView, TableExport, full_export, incremental_export
from standin.faults import Faults, Poison, PoisonKind, Report
from standin.firehose import FirehoseObject, firehose_objects
from standin.history import AttributeValue, CanonicalKey, Change, Item, Op, Table, Write
from standin.kds import KinesisRecord, Precision, kds_records
from standin.streams import stream_records

__all__ = [
    "AttributeValue",
    "CanonicalKey",
    "Change",
    "ExportView",
    "Faults",
    "FirehoseObject",
    "Item",
    "KinesisRecord",
    "Op",
    "Poison",
    "PoisonKind",
    "Precision",
    "Report",
    "Table",
    "TableExport",
    "Write",
    "firehose_objects",
    "full_export",
    "incremental_export",
    "kds_records",
    "stream_records",
]
