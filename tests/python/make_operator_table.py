#!/usr/bin/env python3
"""Writes what ONNX's operators take in each operator set, as the importer checks it: make_operator_table.py OUT [--check]

The first line names the newest operator set. Every other line is one version of one operator of the standard domain:

    NAME SINCE INPUTS OUTPUTS ATTRIBUTE..

SINCE is the operator set that brought it. INPUTS and OUTPUTS are `LEAST..MOST`, with `*` for any number. An attribute
that must be there ends in `!`. A version that takes the operator out of the standard reads `NAME SINCE removed`; an
operator that was withdrawn in the same version that brought it is kept, because exporters write it.
"""

import argparse
import pathlib
import sys

import onnx.defs

UNBOUNDED = 2**31 - 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--check", action="store_true", help="compare with OUT instead of writing it")
    arguments = parser.parse_args()
    text = "".join(f"{line}\n" for line in lines())
    if not arguments.check:
        arguments.out.write_text(text)
    elif arguments.out.read_text() != text:
        sys.exit(f"{arguments.out} is not what this script writes")


def lines():
    yield f"newest {onnx.defs.onnx_opset_version()}"
    schemas = (schema for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == "")
    names = set()
    for schema in sorted(schemas, key=lambda schema: (schema.name, schema.since_version)):
        yield line(schema, is_first=schema.name not in names)
        names.add(schema.name)


def line(schema, is_first):
    if schema.deprecated and not is_first:
        return f"{schema.name} {schema.since_version} removed"
    counts = [(schema.min_input, schema.max_input), (schema.min_output, schema.max_output)]
    attributes = sorted(schema.attributes.values(), key=lambda attribute: attribute.name)
    words = [schema.name, str(schema.since_version), *(f"{least}..{most_of(most)}" for least, most in counts)]
    words += [attribute.name + ("!" if attribute.required else "") for attribute in attributes]
    return " ".join(words)


def most_of(count):
    return "*" if count >= UNBOUNDED else count


if __name__ == "__main__":
    main()
