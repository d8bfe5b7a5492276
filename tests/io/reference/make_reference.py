#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the npy files of this folder as NumPy writes them, for tests/io/npy.cpp.

    /usr/bin/python3 make_reference.py

Element i of every array is (i - 3) / 4, or i * 17 - 20 for integers (modulo the type), or i % 3 == 0 for bools.
"""
import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent


def values(dtype, shape):
    index = np.arange(int(np.prod(shape)), dtype=np.int64)
    if np.dtype(dtype).kind == "f":
        flat = (index - 3) / 4
    elif np.dtype(dtype).kind == "b":
        flat = index % 3 == 0
    else:
        flat = index * 17 - 20
    return flat.astype(dtype).reshape(shape)


def write(name, array, version):
    with open(FOLDER / name, "wb") as file:
        np.lib.format.write_array(file, array, version=version)


def main():
    for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"):
        write(f"{code}.npy", values(code, (2, 3)), (1, 0))
    write("version_2.npy", values("f4", (2, 3)), (2, 0))
    write("version_3.npy", values("f4", (2, 3)), (3, 0))
    write("scalar.npy", values("f4", ()), (1, 0))
    write("vector.npy", values("f4", (5,)), (1, 0))
    write("labels.npy", values("i8", (5,)), (1, 0))
    write("empty.npy", values("f4", (0, 4)), (1, 0))
    # A header that would end on a multiple of 64 by itself: NumPy then pads by another 64 bytes.
    for shape in ((0,) + (1,) * ones + (10**digits,) for ones in range(30) for digits in range(3)):
        write("padded.npy", values("f4", shape), (1, 0))
        if (FOLDER / "padded.npy").read_bytes().endswith(b"}" + b" " * (20 + 64) + b"\n"):
            return
    raise SystemExit("no shape fills its header")


if __name__ == "__main__":
    main()
