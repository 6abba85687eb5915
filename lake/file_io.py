"""pyiceberg's files on S3, by the same client as all else: one way of credentials, retries, timeouts and faults.

Metadata and manifests alone pass here, whole and in memory; data files are DuckDB's to read and `store`'s to write.
"""

from __future__ import annotations

import io
from types import TracebackType

from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile, OutputStream

from lake import s3, store


class S3File(InputFile, OutputFile):
    """One object. A write shows when it is closed, whole; without `overwrite` it never replaces another."""

    def __len__(self) -> int:
        found = s3.size(self.location)
        if found is None:
            raise FileNotFoundError(self.location)
        return found

    def exists(self) -> bool:
        return s3.size(self.location) is not None

    def open(self, seekable: bool = True) -> InputStream:
        data = store.read(self.location)
        if data is None:
            raise FileNotFoundError(self.location)
        return io.BytesIO(data)

    def to_input_file(self) -> InputFile:
        return self

    def create(self, overwrite: bool = False) -> OutputStream:
        return _Upload(self.location, overwrite)


class _Upload(io.BytesIO):
    """What was written goes to S3 at the end; after an error nothing does."""

    def __init__(self, location: str, overwrite: bool) -> None:
        super().__init__()
        self._location, self._overwrite = location, overwrite

    def close(self) -> None:
        if self.closed:
            return
        data = self.getvalue()
        super().close()
        if self._overwrite:
            store.put(self._location, data)
        elif not store.put_new(self._location, data):
            raise FileExistsError(self._location)

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            super().close()


class S3FileIO(FileIO):
    """`py-io-impl` of a lake on S3."""

    def new_input(self, location: str) -> S3File:
        return S3File(location)

    def new_output(self, location: str) -> S3File:
        return S3File(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        store.delete([location if isinstance(location, str) else location.location])
