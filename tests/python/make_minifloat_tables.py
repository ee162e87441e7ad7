"""Writes the reference tables for the minifloat tests, ir/tests/data/minifloat/{decode,encode}.txt.

Usage: python tests/python/make_minifloat_tables.py   (needs numpy, ml_dtypes, onnx, onnxruntime)

The expectations come from exact rational arithmetic over the values that ml_dtypes gives to the codes.
The script stops unless the independent implementations agree wherever they round only once: ml_dtypes,
numpy and onnx.numpy_helper.saturate_cast for operands that f32 holds, and the Cast operator of
onnxruntime for float8e8m0. They are not the source themselves because ml_dtypes and onnxruntime narrow
f64 to f32 before they round.
"""

import bisect
import pathlib
import random
import struct
from fractions import Fraction

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OUTPUT = pathlib.Path(__file__).resolve().parents[2] / "ir/tests/data/minifloat"

# Name, type, bits of a code, code of positive infinity or None, code of NaN by sign or None.
FORMATS = [
    ("f8e4m3fn", ml_dtypes.float8_e4m3fn, 8, None, (0x7F, 0xFF)),
    ("f8e4m3fnuz", ml_dtypes.float8_e4m3fnuz, 8, None, (0x80, 0x80)),
    ("f8e5m2", ml_dtypes.float8_e5m2, 8, 0x7C, (0x7E, 0xFE)),
    ("f8e5m2fnuz", ml_dtypes.float8_e5m2fnuz, 8, None, (0x80, 0x80)),
    ("f4e2m1", ml_dtypes.float4_e2m1fn, 4, None, None),
    ("f16", np.float16, 16, 0x7C00, (0x7E00, 0xFE00)),
    ("bf16", ml_dtypes.bfloat16, 16, 0x7F80, (0x7FC0, 0xFFC0)),
]
F8 = FORMATS[:4]
ROUND_MODES = ("up", "down", "nearest")


def word(bits):
    return np.uint16 if bits == 16 else np.uint8


def decode_all(dtype, bits):
    return np.arange(1 << bits).astype(word(bits)).view(dtype).astype(np.float32)


class Encoder:
    """Rounds exactly: the nearest value, of two the one with the even code."""

    def __init__(self, dtype, bits, infinity, nan):
        self.sign, self.infinity, self.nan = 1 << (bits - 1), infinity, nan
        values = decode_all(dtype, bits)[: self.sign]
        self.values = [Fraction(float(v)) for v in values if np.isfinite(v)]
        self.max_code = len(self.values) - 1
        # One step past the largest value decides whether a value rounds out of range.
        self.values.append(2 * self.values[-1] - self.values[-2])
        assert self.values == sorted(self.values)

    def nearest(self, magnitude):
        above = bisect.bisect_left(self.values, magnitude)
        if above == 0 or above == len(self.values):
            return above
        down, up = magnitude - self.values[above - 1], self.values[above] - magnitude
        if down == up:
            return above if above % 2 == 0 else above - 1
        return above if up < down else above - 1

    def __call__(self, x, saturate):
        negative = bool(np.signbit(x))
        if np.isnan(x):
            # Without a NaN the conformance cases of Cast expect negative zero.
            return self.nan[negative] if self.nan else self.sign
        code = self.max_code + 1 if np.isinf(x) else self.nearest(abs(Fraction(float(x))))
        if code > self.max_code:
            if saturate or not self.nan:
                code = self.max_code
            elif self.infinity is not None:
                code = self.infinity
            else:
                return self.nan[negative]
        if code == 0 and self.nan == (self.sign, self.sign):
            return 0
        return code | self.sign if negative else code


def encode_e8m0(x, saturate, mode):
    """The Cast table; what it leaves open is clamped or NaN like any other value out of range."""
    if np.isnan(x):
        return 0xFF
    if x < 2.0**-127 or x > 2.0**127:
        return (0x00 if x < 1 else 0xFE) if saturate else 0xFF
    x = Fraction(float(x))
    code = next(c for c in range(255) if Fraction(2) ** (c - 126) > x)
    low = Fraction(2) ** (code - 127)
    up = {"up": x > low, "down": False, "nearest": x >= low * 3 / 2}[mode]
    return code + up


def onnxruntime_e8m0(x, saturate, mode):
    """Casts f32 to float8e8m0 and back."""
    nodes = [
        helper.make_node(
            "Cast", ["x"], ["y"], to=TensorProto.FLOAT8E8M0, saturate=saturate, round_mode=mode
        ),
        helper.make_node("Cast", ["y"], ["z"], to=TensorProto.FLOAT),
    ]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None]) for n in "xz"]
    graph = helper.make_graph(nodes, "cast", info[:1], info[1:])
    opsets = [helper.make_opsetid("", 24)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=11)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": x})[0]


def f32_operands(rng):
    """Special and conformance values, then random ones dense in ties, limits and subnormals."""
    fixed = [0.0, np.inf, np.nan, 1e6, 1e-7, 0.47892547, 0.48033667, 0.49968487, 0.81910545]
    fixed += [0.47031248, 0.7229038, 0.48, 0.25, 1.05, 3.5, 8.0, 9.0, 4.0, 0.01, 5.0, 2.5, 0.124, 1.1]
    fixed += [240.0, 248.0, 256.0, 448.0, 464.0, 480.0, 57344.0, 61440.0, 65504.0, 65520.0, 65536.0]
    fixed += [2.0**-k for k in (9, 10, 11, 16, 17, 18, 24, 25, 126, 127, 128, 133, 134, 149)]
    fixed += [2.0**127, 1.2 * 2.0**127, 1.5 * 2.0**127, 3.4028235e38, 3.3895314e38, 1e-40]
    rows = [np.float32(v) for v in fixed]
    rows += [np.nextafter(v, np.float32(to)) for v in rows if v > 0 for to in (0, np.inf)]
    rows += [-v for v in rows]
    while len(rows) < 900:
        narrow = rng.random() < 0.75
        exponent = rng.randint(127 - 28, 127 + 18) if narrow else rng.randint(0, 254)
        fraction = rng.getrandbits(23) & (-1 << rng.choice((0, 8, 12, 15, 18, 19, 20, 21)))
        bits = rng.getrandbits(1) << 31 | exponent << 23 | fraction & 0x7FFFFF
        rows.append(np.uint32(bits).view(np.float32))
    return unique(rows, np.uint32)


def f64_operands(rng):
    """Values a last place away from a tie, which a detour over f32 would round wrongly."""
    rows = [np.float64(v) for v in (5e-324, 1.7976931348623157e308, 1e300, 1e-300)]
    rows += [np.nextafter(v, to) for v in (2.0**-127, 2.0**127) for to in (0, np.inf)]
    while len(rows) < 520:
        _, dtype, bits, _, _ = rng.choice(FORMATS)
        code = rng.randrange((1 << (bits - 1)) - 1)
        pair = np.array([code, code + 1]).astype(word(bits)).view(dtype).astype(np.float64)
        tie = pair.sum() / 2
        if np.isfinite(tie):
            row = np.nextafter(tie, rng.choice((-np.inf, np.inf)))
            rows.append(row if rng.random() < 0.5 else -row)
    return unique(rows, np.uint64)


def unique(rows, bits):
    return list({row.view(bits).item(): row for row in rows}.values())


def check(encoders, f32):
    """Stops if another implementation disagrees with the exact one on an f32 operand."""
    x = np.array(f32, dtype=np.float32)
    for name, dtype, bits, _, nan in FORMATS:
        for saturate in (False, True):
            mine = np.array([encoders[name](v, saturate) for v in x])
            cast = numpy_helper.saturate_cast if saturate else lambda v, t: v.astype(t)
            theirs = cast(x, dtype).view(word(bits))
            # Any zero will do for a negative NaN where there is none.
            differ = (mine != theirs) & ~(np.isnan(x) if nan is None else False)
            assert not differ.any(), (name, saturate, x[differ], mine[differ], theirs[differ])
    decoded = decode_all(ml_dtypes.float8_e8m0fnu, 8)
    for saturate in (False, True):
        for mode in ROUND_MODES:
            mine = np.array([encode_e8m0(v, saturate, mode) for v in x])
            theirs = onnxruntime_e8m0(x, int(saturate), mode)
            differ = ~((decoded[mine] == theirs) | np.isnan(decoded[mine]) & np.isnan(theirs))
            assert not differ.any(), (saturate, mode, x[differ], mine[differ], theirs[differ])


def encode_row(encoders, operand):
    bits = struct.pack(">f" if operand.dtype == np.float32 else ">d", operand).hex()
    columns = [bits]
    for saturate in (True, False):
        columns.append("".join(f"{encoders[name](operand, saturate):02x}" for name, *_ in F8))
    columns.append(f"{encoders['f4e2m1'](operand, True):x}")
    for saturate in (True, False):
        codes = [encode_e8m0(operand, saturate, mode) for mode in ROUND_MODES]
        columns.append("".join(f"{code:02x}" for code in codes))
    columns += [f"{encoders[name](operand, False):04x}" for name in ("f16", "bf16")]
    return " ".join(columns)


def main():
    rng = random.Random(20240917)
    encoders = {name: Encoder(*rest) for name, *rest in FORMATS}
    f32, f64 = f32_operands(rng), f64_operands(rng)
    check(encoders, f32)

    decode = ["# Written by tests/python/make_minifloat_tables.py: the f32 bits of codes 0, 1, 2, ..."]
    tables = [(name, dtype, bits) for name, dtype, bits, *_ in FORMATS if bits < 16]
    for name, dtype, bits in [*tables, ("f8e8m0", ml_dtypes.float8_e8m0fnu, 8)]:
        codes = [f"{v:08x}" for v in decode_all(dtype, bits).view(np.uint32)]
        decode.append(name)
        decode += [" ".join(codes[i : i + 8]) for i in range(0, len(codes), 8)]

    encode = [
        "# Written by tests/python/make_minifloat_tables.py. Columns: bits of the operand (f32 or f64);",
        "# f8e4m3fn, f8e4m3fnuz, f8e5m2, f8e5m2fnuz saturating, then not; f4e2m1; f8e8m0 up, down,",
        "# nearest saturating, then not; f16; bf16.",
    ]
    encode += [encode_row(encoders, operand) for operand in [*f32, *f64]]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "decode.txt").write_text("\n".join(decode) + "\n")
    (OUTPUT / "encode.txt").write_text("\n".join(encode) + "\n")


if __name__ == "__main__":
    # Overflow to infinity and casts of NaN are what the operands are for.
    with np.errstate(over="ignore", invalid="ignore"):
        main()
