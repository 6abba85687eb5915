"""What proof costs, each part as a ratio against something run beside it: verify, export backfill and gaps.

    python -m benchmarks.proof                       100,000 items, 500,000 changes

Each is a benchmark of its own too: `python -m benchmarks.verify`, `.export`, `.gaps`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    parts = {
        "verify": ("verify, against the Scan that it rides on", "--items", options.items),
        "export": ("backfill from an export, against DuckDB's bare read of its files", "--items", options.items),
        "gaps": ("gaps, against a scan of the log's images", "--records", options.items * 5),
    }
    for name, (what, size, count) in parts.items():
        print(what, flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", size, str(count), "--runs", str(options.runs)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
