#!/usr/bin/env python3
"""Writes inputs that a reader must survive, and what has to happen: make_hostile_models.py OUTDIR.

OUTDIR gets the models, the archives some of them run on, and `MANIFEST.json`: a list of

    file              the model, relative to the manifest
    what              what is wrong with it, or only looks wrong
    command           "convert": import it and print it; "run": compute it on the archive `inputs`
    exit              the exit codes that are right: 2 the input is at fault, 0 it is accepted
    message_contains  what the message on stderr must name when the exit code is 2
    message_lacks     what it must not contain

The small cases are committed as `tests/fixtures/hostile`; `--check` compares OUTDIR with them instead of writing it.
`--generated` writes the cases that are too large to commit.
"""

import argparse
import json
import pathlib
import sys

from hostile import arrays, attributes, external, files, generated, nesting, numerics, sizes, structure, tensors

FAMILIES = (arrays, files, structure, tensors, external, sizes, attributes, numerics, nesting)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outdir", type=pathlib.Path)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--generated", action="store_true", help="write the cases that are too large to commit")
    mode.add_argument("--check", action="store_true", help="fail when OUTDIR is not what would be written")
    arguments = parser.parse_args()
    cases = collect((generated,) if arguments.generated else FAMILIES)
    contents, links = files_of(cases)
    if arguments.check:
        return check(arguments.outdir, contents, links)
    write(arguments.outdir, contents, links)
    print(f"{arguments.outdir}: {len(cases)} cases")
    return 0


def collect(families):
    return [case for family in families for case in family.cases()]


def files_of(cases):
    """All files by path, the manifest among them, and all symbolic links."""
    contents, links = {}, {}
    for case in cases:
        own = dict(case.extra)
        if case.content is not None:
            own[case.file] = case.content
        for path, content in own.items():
            if contents.setdefault(path, content) != content:
                raise ValueError(f"two cases disagree about {path}")
        links.update(case.links)
    manifest = json.dumps([case.manifest_entry() for case in cases], indent=1, ensure_ascii=True)
    contents["MANIFEST.json"] = f"{manifest}\n".encode()
    return contents, links


def write(outdir, contents, links):
    for path, content in contents.items():
        target = outdir / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for path, destination in links.items():
        (outdir / path).unlink(missing_ok=True)
        (outdir / path).symlink_to(destination)


def check(outdir, contents, links):
    """Reports every file that is missing, different or left over."""
    present = {path.relative_to(outdir).as_posix() for path in outdir.rglob("*") if not path.is_dir()}
    expected = contents.keys() | links.keys()
    wrong = sorted(present ^ expected)
    wrong += sorted(path for path in contents.keys() & present if (outdir / path).read_bytes() != contents[path])
    for path in wrong:
        print(f"{outdir / path}: not as make_hostile_models.py writes it", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
