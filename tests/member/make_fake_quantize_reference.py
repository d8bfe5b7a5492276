#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write digests of PyTorch's fake quantization of a checkpoint, for tests/member/fake_quantize.cpp.

    python3 make_fake_quantize_reference.py examples/evaluate_vit/models/vit-small.safetensors > fake_quantize_digests.txt

For every tensor that is quantized by default and b = 2..8, one line: name, b, the number of weights within 2^-16 of a
tie, and the 64-bit FNV-1a digest of the int8 codes, row-major, those weights as -128. Per channel (dimension 0):
scale = max(absmax / qmax, 2^-110) in float32, zero point 0, codes in -qmax..qmax. Ties are told in double precision.
"""
import json
import struct
import sys

import numpy as np
import torch


def read_safetensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    types = {"F16": np.float16, "F32": np.float32}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        yield name, np.frombuffer(data[begin:end], types[entry["dtype"]]).reshape(entry["shape"])


def fnv1a(values):
    digest = 0xCBF29CE484222325
    for byte in values.tobytes():
        digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return digest


def main():
    for name, stored in read_safetensors(sys.argv[1]):
        if stored.ndim < 2 or not name.endswith(".weight"):
            continue
        weights = torch.from_numpy(stored.astype(np.float32).reshape(stored.shape[0], -1))
        for bits in range(2, 9):
            qmax = 2 ** (bits - 1) - 1
            scale = torch.clamp(weights.abs().amax(dim=1) / qmax, min=2.0**-110)
            zero_point = torch.zeros(len(scale), dtype=torch.int32)
            fake = torch.fake_quantize_per_channel_affine(weights, scale, zero_point, 0, -qmax, qmax)
            codes = torch.round(fake.double() / scale.double()[:, None]).numpy()
            assert np.abs(codes).max() <= qmax
            steps = weights.double().numpy() / scale.double().numpy()[:, None]
            ties = np.abs(steps - np.floor(steps) - 0.5) <= 2.0**-16
            masked = np.where(ties, -128, codes).astype(np.int8)
            print(f"{name} {bits} {int(ties.sum())} {fnv1a(masked):016x}")


if __name__ == "__main__":
    main()
