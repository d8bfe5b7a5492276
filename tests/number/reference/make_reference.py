#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write minifloat_values.txt, for tests/number: small floats as ml_dtypes 0.6.0 has them, an independent
implementation.

    value FORMAT PATTERN FLOAT             the float that a bit pattern stands for, where that is finite
    nearest FORMAT PATTERN FLOAT FLOAT...  floats that are rounded to a bit pattern, ties to even

Hexadecimal, floats as their own bit patterns. Rounded are all values of a format, of both signs, the points halfway
between two of them, and points to both sides of these, 2^-10 of a step away.
"""
import pathlib

import ml_dtypes
import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent
FORMATS = {
    "E4M3": (ml_dtypes.float8_e4m3fn, 8),
    "E5M2": (ml_dtypes.float8_e5m2, 8),
    "E2M3": (ml_dtypes.float6_e2m3fn, 6),
    "E3M2": (ml_dtypes.float6_e3m2fn, 6),
    "E2M1": (ml_dtypes.float4_e2m1fn, 4),
    "E8M0": (ml_dtypes.float8_e8m0fnu, 8),
}


def hexadecimal(value):
    return f"{value.view(np.uint32):08x}"


def value_lines(name, dtype, bits):
    patterns = np.arange(2**bits, dtype=np.uint8)
    values = patterns.view(dtype).astype(np.float32)
    return [f"value {name} {p:02x} {hexadecimal(v)}" for p, v in zip(patterns, values) if np.isfinite(v)]


def nearest_lines(name, dtype, bits):
    points = np.arange(2 ** (bits - 1), dtype=np.uint8).view(dtype).astype(np.float32)
    points = points[np.isfinite(points)]
    steps = np.diff(points)
    parts = (0.5 - 2**-10, 0.5, 0.5 + 2**-10)
    weights = np.sort(np.concatenate([points] + [points[:-1] + np.float32(part) * steps for part in parts]))
    weights = np.concatenate([weights, -weights])
    rounded = weights.astype(dtype).view(np.uint8)
    return [
        f"nearest {name} {pattern:02x} " + " ".join(map(hexadecimal, weights[rounded == pattern]))
        for pattern in np.unique(rounded)
    ]


def main():
    lines = []
    for name, (dtype, bits) in FORMATS.items():
        lines += value_lines(name, dtype, bits)
        if name != "E8M0":
            lines += nearest_lines(name, dtype, bits)
    (FOLDER / "minifloat_values.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
