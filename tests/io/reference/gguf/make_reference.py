#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the files of this folder with implementations that are not ours, for tests/io/gguf*.cpp and ggml_block.cpp:
blocks by ggml's reference functions, GGUF files by the gguf package.

    PYTHONPATH=<llama.cpp>/gguf-py /usr/bin/python3 make_reference.py <libggml-base.so, or ggml-quants.c as a library>

The committed files are of gguf 0.18.0 and of ggml 0.10 (d99724f2), compiled with -ffp-contract=off, so that products and
sums are rounded each, as the source says.

weights.f32 and weights.<type>: 96 blocks of 32 weights, and the blocks that quantize_row_<type>_ref makes of them.
bits.<type> and bits.<type>.f32: 8 blocks of random bits (with finite scales), and what dequantize_row_<type> reads.
model.gguf: metadata of all types and tensors of many; member.gguf: the same with some tensors as Q4_0.
"""
import ctypes
import pathlib
import sys

import gguf
import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent
TYPES = {"q4_0": 18, "q5_0": 22, "q8_0": 34}


def bell(random, count, scale):
    return (random.integers(-32768, 32768, (3, count)).sum(axis=0) / 98304 * scale).astype(np.float32)


def weights():
    random = np.random.default_rng(5)
    blocks = [bell(random, 32, 0.1) for _ in range(40)]
    blocks += [bell(random, 32, 0.02 * 4.0**-i) for i in range(12)]  # down to subnormal float16 scales and to 0
    # Rounding ties: multiples of half a step for scales that are powers of two, with the extreme on either side.
    for extreme in (8, -8, 16, -16, 127, -127):
        ties = random.integers(-2 * abs(extreme) + 2, 2 * abs(extreme) - 1, 32) / 2
        ties[random.integers(32)] = extreme
        blocks += [ties, ties * 0.125]
    # Two extremes of one size, either one first, and values that scales do not divide.
    for first in (1, -1):
        for size in (1.0, 0.7, 3.3e-4):
            tied = bell(random, 32, 0.9 * size)
            tied[9], tied[20] = first * size, -first * size
            blocks.append(tied)
    blocks += [np.zeros(32), -np.zeros(32), np.full(32, 0.3), np.full(32, -0.3), np.eye(32)[5], -np.eye(32)[31]]
    blocks += [bell(random, 32, s) for s in (1e3, 4e4, 3e5)]
    blocks.append(np.where(np.arange(32) == 3, 8 * 65504.0, 1.0))
    # Halfway between float16 scales, and 8, 16 and 127 times them: where the scale is rounded.
    for steps in (8, 16, 127):
        blocks += [bell(random, 32, 0.5) * 0.9 for _ in range(2)]
        blocks[-1][7] = -steps * (1 + 2.0**-11) * 2.0**-8
        blocks[-2][7] = steps * (1 + 3 * 2.0**-11) * 2.0**-8
    while len(blocks) < 96:
        blocks.append(random.integers(-9, 10, 32) / 7)
    return np.array(blocks, dtype=np.float32).reshape(-1)


def model(path, tensors, added=()):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    writer.add_name("pluria's, nur Größen und ἀριθμοί")
    writer.add_file_type(2 if added else 0)
    for name, value in (("u8", 255), ("i8", -128), ("u16", 65535), ("i16", -32768), ("u32", 2**32 - 1), ("i32", -(2**31)),
                        ("f32", 0.1), ("bool", True), ("string", "text\nof two lines"), ("u64", 2**64 - 1),
                        ("i64", -(2**63)), ("f64", 0.1)):
        kind = {"u": "UINT", "i": "INT", "f": "FLOAT"}.get(name[0], "") + name[1:]
        kind = {"bool": "BOOL", "string": "STRING"}.get(name, kind)
        writer.add_key_value(f"all.{name}", value, gguf.GGUFValueType[kind])
    writer.add_array("tokenizer.ggml.tokens", ["<s>", "", "▁the", "a" * 100])
    writer.add_array("tokenizer.ggml.scores", [0.0, -1.5, 2.25])
    writer.add_array("tokenizer.ggml.token_type", [1, -2, 3])
    writer.add_array("all.flags", [True, False, True])
    writer.add_array("all.arrays", [[1, 2, 3], [4], [5, 6]])
    for key, value, kind in added:
        writer.add_key_value(key, value, kind)
    for name, array, kind in tensors:
        if kind is None:
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    library = ctypes.CDLL(sys.argv[1])

    def call(name, source, result, count):
        library[name].argtypes, library[name].restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64], None
        library[name](source.ctypes.data, result.ctypes.data, count)
        return result

    def quantized(kind, array):
        flat = np.ascontiguousarray(array, dtype=np.float32).reshape(-1)
        blocks = np.zeros(flat.size // 32 * TYPES[kind], np.uint8)
        return call(f"quantize_row_{kind}_ref", flat, blocks, flat.size)

    array = weights()
    array.tofile(FOLDER / "weights.f32")
    random = np.random.default_rng(6)
    for kind, size in TYPES.items():
        quantized(kind, array).tofile(FOLDER / f"weights.{kind}")
        blocks = random.integers(0, 256, (8, size), dtype=np.uint8)
        blocks[:, 1] &= 0xBF  # no infinity, no NaN
        decoded = call(f"dequantize_row_{kind}", blocks, np.zeros(8 * 32, np.float32), 8 * 32)
        blocks.tofile(FOLDER / f"bits.{kind}")
        decoded.tofile(FOLDER / f"bits.{kind}.f32")

    types = gguf.GGMLQuantizationType
    up = bell(random, 6 * 64, 0.1).reshape(6, 64)
    down = bell(random, 4 * 32, 0.1).reshape(4, 32).astype(np.float16)
    experts = bell(random, 2 * 3 * 32, 0.1).reshape(2, 3, 32)
    q8 = quantized("q8_0", bell(random, 3 * 64, 0.1)).reshape(3, 68)
    half = (bell(random, 2 * 32, 1.0).view(np.uint32) >> 16).astype(np.uint16).reshape(2, 32)
    tensors = [
        ("token_embd.weight", half.view(np.uint8), types.BF16),
        ("blk.0.ffn_up.weight", up, None),
        ("blk.0.ffn_up.bias", bell(random, 6, 0.1), None),
        ("blk.0.ffn_down.weight", down, None),
        ("blk.0.ffn_gate_exps.weight", experts, None),
        ("blk.0.attn_q.weight", q8, types.Q8_0),
        ("blk.0.attn_k.weight", random.integers(0, 256, (2, 144), dtype=np.uint8), types.Q4_K),
        ("four", bell(random, 2 * 3 * 5 * 7, 0.1).reshape(2, 3, 5, 7), None),
        ("positions", np.arange(5, dtype=np.int32), None),
        ("one", np.array([0.5]), None),
    ]
    model(FOLDER / "model.gguf", tensors)
    member = list(tensors)
    read = q8.reshape(-1, 34)
    q8_values = read[:, :2].copy().view(np.float16).astype(np.float32) * read[:, 2:].view(np.int8).astype(np.float32)
    for place, values in ((1, up), (3, down), (4, experts), (5, q8_values.reshape(3, 64))):
        rows = quantized("q4_0", values).reshape(*values.shape[:-1], -1)
        member[place] = (member[place][0], rows, types.Q4_0)
    value_types = gguf.GGUFValueType
    model(FOLDER / "member.gguf", member, (
        ("general.quantization_version", 2, value_types.UINT32),
        ("pluria.rounding", "nearest", value_types.STRING),
        ("pluria.system", "Q4_0", value_types.STRING),
    ))


if __name__ == "__main__":
    main()
