#!/usr/bin/env python3
"""Fails when a committed snapshot is used by no test: reject_unused_snapshots.py FOLDER REFERENCES.

REFERENCES is the file named by INSTA_SNAPSHOT_REFERENCES_FILE, in which insta notes every snapshot that a test asked
for. Only meaningful after a run of all tests.
"""

import argparse
import pathlib
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("references", type=pathlib.Path)
    arguments = parser.parse_args()
    used = {pathlib.Path(line).resolve() for line in arguments.references.read_text().splitlines()}
    unused = sorted(path for path in arguments.folder.rglob("*.snap") if path.resolve() not in used)
    for path in unused:
        print(f"no test uses {path} any more; remove it", file=sys.stderr)
    return 1 if unused else 0


if __name__ == "__main__":
    sys.exit(main())
