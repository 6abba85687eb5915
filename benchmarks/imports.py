"""A cold start of the Lambda functions, from the zip that `make package` builds, beside a bare start of Python.

    python -m benchmarks.imports                     builds the zip, then 9 starts of each, taking turns

Seconds are the processor's, of the whole process: others on this machine do not count. `import` is what Lambda does
before the first event; `client` comes on top with that event: boto3 is imported and a client of S3 made, with nothing
asked of AWS yet. Lambda gives a whole processor at 1,769 MB, and less of one below.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS_MAX = 0.5  # of the import, beyond a bare start
PACKAGER = "infra/package.py"
ARCH = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
IMPORT = "import ingest.handlers"
CLIENT = f"{IMPORT}; from lake.aws import aws_client; aws_client('s3')"
STARTS = {"bare": "pass", "import": IMPORT, "client": CLIENT}
SETTINGS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}  # fmt: skip


def unpack(folder: Path) -> Path:
    """The package as Lambda has it: unzipped, and never written to."""
    subprocess.run([sys.executable, PACKAGER, "--arch", ARCH, "--out", str(folder)], cwd=ROOT, check=True)
    (path,) = folder.glob("*.zip")
    with zipfile.ZipFile(path) as package:
        package.extractall(folder / "task")
    return folder / "task"


def seconds_of(statement: str, task: Path) -> float:
    """One start, with nothing of this environment but Python itself."""
    begin = children_seconds()
    code = f"import sys; sys.path.insert(0, {str(task)!r}); {statement}"
    subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code], env=os.environ | SETTINGS, check=True)
    return children_seconds() - begin


def children_seconds() -> float:
    """Of the processor, of all processes that were waited for."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        task = unpack(Path(scratch))
        for statement in STARTS.values():
            seconds_of(statement, task)  # files come into the system's cache
        taken = [{name: seconds_of(statement, task) for name, statement in STARTS.items()} for _ in range(options.runs)]
    median = {name: statistics.median(run[name] for run in taken) for name in STARTS}
    beyond = median["import"] - median["bare"]
    print(f"a bare start takes {median['bare']:.3f} s, {options.runs} runs, medians")
    print(f"import of the handlers: {beyond:.3f} s beyond it ({SECONDS_MAX} at most)")
    print(f"the first client of S3: {median['client'] - median['import']:.3f} s more")
    if beyond > SECONDS_MAX:
        sys.exit(f"the import takes {beyond:.3f} s, more than {SECONDS_MAX}")


if __name__ == "__main__":
    main()
