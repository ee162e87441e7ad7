"""Cases too large to commit; the test command writes them."""

import io
import struct
import zlib

import numpy as np

from .arrays import ENTRY, INPUT, MODEL, model
from .case import ACCEPTED, SURVIVED, Case
from .nesting import calling, stairs
from .structure import chain

MEBIBYTE = 2**20
BOMB_MEBIBYTES = 4096


def cases():
    bomb = "bomb.npz"
    return [
        Case("chain_20000.onnx", "a chain of 20,000 nodes", chain(20000), exit=ACCEPTED),
        Case(
            "function_stairs_10000.onnx",
            "functions that call the next one, 10,000 deep",
            calling("step_0", stairs(10000)),
            exit=SURVIVED,
        ),
        Case(
            MODEL,
            "four gigabytes of zeros in an archive of four megabytes",
            model(),
            (INPUT,),
            command="run",
            inputs=bomb,
            extra={bomb: zip_bomb()},
        ),
    ]


def zip_bomb():
    """An archive of one array that is a thousand times larger than the file."""
    size = BOMB_MEBIBYTES * MEBIBYTE
    header = npy_header(size // 4)
    block = deflate_block(bytes(MEBIBYTE))
    content = deflate_block(header) + block * BOMB_MEBIBYTES + b"\x03\x00"
    checksum = zlib.crc32(header)
    for _ in range(BOMB_MEBIBYTES):
        checksum = zlib.crc32(ZEROS, checksum)
    return one_entry(ENTRY.encode(), content, checksum, size + len(header))


ZEROS = bytes(MEBIBYTE)


def npy_header(count):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (count,)})
    return file.getvalue()


def deflate_block(content):
    """Compressed so that it can be repeated: it ends on a byte and refers to nothing before it."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(content) + compressor.flush(zlib.Z_FULL_FLUSH)


def one_entry(name, content, checksum, size):
    """A zip archive with one compressed entry whose sizes are written in the 64-bit form."""
    large = 0xFFFFFFFF
    extra = struct.pack("<HHQQ", 1, 16, size, len(content))
    common = struct.pack("<HHHHHIIIHH", 45, 0, 8, 0, 33, checksum, large, large, len(name), len(extra))
    local = b"PK\x03\x04" + common + name + extra + content
    central = b"PK\x01\x02" + struct.pack("<H", 45) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name + extra
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end
