# SPDX-License-Identifier: MIT
"""The members that sample_checkpoint writes, bit for bit, in memory: one copy of a model plays all of them in turn.

    from pluria_members import load_member
    for k in range(8):
        load_member(model, k, bits=5, seed=1)   # model: a PyTorch module, rewritten in place
        probabilities += model(x).softmax(-1) / 8

Needs NumPy; torch only for load_member. Symmetric INT-b with Bernoulli stochastic rounding (LPE-BSR; Nam & Lee, "Ex Uno
Pluria", NeurIPS 2024): 16 random bits decide each weight, a pure function of seed, tensor name, place and member.
"""
import re

import numpy as np

STREAM_VERSION, ROUNDS, BLOCK = 2, 13, 128
EMBEDDINGS = re.compile(
    r"(^|\.)(embed_tokens|word_embeddings|token_embedding|tok_embeddings|token_embd|wte|shared|position_embeddings"
    r"|position_embedding|embed_positions|position_embd|wpe)\.weight$")
ROTATIONS = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))


def quantized_by_default(name, shape):
    """Matrices whose name ends in .weight, except token and position embeddings."""
    return len(shape) >= 2 and name.endswith(".weight") and not EMBEDDINGS.search(name)


def name_hash(name):
    """64-bit FNV-1a."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def threefry(counter, key):
    """Threefry4x32 (Salmon et al., SC'11): four arrays of uint32 words of counter, four words of key."""
    keys = [np.uint32(word) for word in key]
    keys.append(np.uint32(0x1BD11BDA) ^ keys[0] ^ keys[1] ^ keys[2] ^ keys[3])
    x = [word + k for word, k in zip(counter, keys)]
    for i in range(ROUNDS):
        first, second = (1, 3) if i % 2 == 0 else (3, 1)
        for target, mixed, turn in ((0, first, ROTATIONS[i % 8][0]), (2, second, ROTATIONS[i % 8][1])):
            x[target] = x[target] + x[mixed]
            x[mixed] = (x[mixed] << np.uint32(turn) | x[mixed] >> np.uint32(32 - turn)) ^ x[target]
        if i % 4 == 3:
            injected = (i + 1) // 4
            x = [word + keys[(injected + j) % 5] for j, word in enumerate(x)]
            x[3] = x[3] + np.uint32(injected)
    return x


def dithers(name, blocks, k, seed, lattice):
    """0..65535 for the elements of some 128-element blocks of a tensor: [blocks, 128]."""
    hashed, outputs = name_hash(name), 16 if lattice == 1 else 32
    number = (blocks[:, None].astype(np.uint64) * np.uint64(outputs) + np.arange(outputs, dtype=np.uint64)).ravel()
    tag = (1 if lattice == 1 else 2) | (lattice.bit_length() - 1) << 8 | STREAM_VERSION << 16
    counter = [(number & np.uint64(2**32 - 1)).astype(np.uint32), (number >> np.uint64(32)).astype(np.uint32),
               np.full(number.shape, k // lattice, np.uint32), np.full(number.shape, tag, np.uint32)]
    words = threefry(counter, [seed % 2**32, seed >> 32, hashed % 2**32, hashed >> 32])
    words = np.stack(words, 1).reshape(len(blocks), -1, 16, 4).swapaxes(2, 3).reshape(len(blocks), -1)
    if lattice == 1:  # elements e and e + 64 are the halves of a word
        return 0xFFFF - np.concatenate([words & np.uint32(0xFFFF), words >> np.uint32(16)], 1).astype(np.int64)
    step = ((words >> np.uint32(16)).astype(np.int64) | 1) << (17 - lattice.bit_length())
    return (words.astype(np.int64) + step * (k % lattice)) & 0xFFFF


def granule_size(shape, granularity):
    """How many neighbours in a row share a scale: a group, or an output channel. Of three dimensions, experts x outputs
    x inputs, a channel is an output of an expert where the inputs are many, and a multiple of 16."""
    if granularity != "channel":
        return int(granularity.split(":")[1])
    if len(shape) == 3 and shape[2] >= 64 and shape[2] % 16 == 0:
        return shape[2]
    return int(np.prod(shape[1:]))


def scales(rows, bits, size):
    """The scale of every weight, float32 [rows, columns]: the largest magnitude among the `size` neighbours that share
    it over the largest code."""
    if bits not in range(2, 9):
        raise ValueError(f"bits: expected 2..8, of symmetric INT-b (other systems: sample_checkpoint), found {bits!r}")
    largest, top = np.abs(rows), np.float32(2 ** (bits - 1) - 1)
    columns = rows.shape[1]
    starts = np.arange(0, columns, size)
    fitted = np.maximum(np.maximum.reduceat(largest, starts, 1) / top, np.float32(2.0**-110))
    fitted = np.where(np.isinf(fitted * top), np.nextafter(fitted, np.float32(0)), fitted)
    return np.repeat(fitted, np.diff(np.append(starts, columns)), 1)


def member_codes(weights, name, k, bits=5, seed=0, granularity="channel", lattice=1, first_row=0, scale=None):
    """Codes (int32) and scales (float32) of member k of a tensor, or of its rows from first_row on: [rows, columns]."""
    weights = np.asarray(weights, np.float32)
    rows = weights.reshape(len(weights), -1)
    count, columns = rows.shape
    if scale is None and granularity == "tensor":
        raise ValueError("member_codes: a tensor's own scale needs all of its rows: give `scale`")
    scale = scales(rows, bits, granule_size(weights.shape, granularity)) if scale is None else scale
    in_row, limit = -(-columns // BLOCK), np.float32(65536 * (2 ** (bits - 1) - 1))
    position = np.rint(np.clip(rows * (np.float32(65536) / scale), -limit, limit)).astype(np.int64)
    blocks = np.arange(first_row * in_row, (first_row + count) * in_row)
    dither = dithers(name, blocks, k, seed, lattice).reshape(count, -1)[:, :columns]
    return (position + dither >> 16).astype(np.int32), scale


def member_values(weights, name, k, bits=5, seed=0, granularity="channel", lattice=1):
    """Member k of a tensor of float weights (an array of two or more dimensions), as float32 of the same shape."""
    weights = np.asarray(weights, np.float32)
    rows = weights.reshape(len(weights), -1)
    whole = None
    if granularity == "tensor":
        whole = np.broadcast_to(scales(rows.reshape(1, -1), bits, rows.size)[:, :1], rows.shape)
    values, at_once = np.empty_like(rows), max(1, 2**18 // max(1, rows.shape[1]))
    for first in range(0, len(rows), at_once):
        part = slice(first, first + at_once)
        codes, scale = member_codes(weights[part], name, k, bits, seed, granularity, lattice, first,
                                    None if whole is None else whole[part])
        values[part] = codes * scale
    return values.reshape(weights.shape)


def load_member(model, k, bits=5, seed=0, granularity="channel", lattice=1, include=None, exclude=None):
    """Makes a PyTorch module member k of the checkpoint it was loaded with; None: that checkpoint again.

    Arguments mean what sample_checkpoint's options mean (lattice=8 is --coupling lattice:8). The module's own weights
    are kept in CPU memory, so that members may follow each other in any order. Returns the module.
    """
    import torch

    source = model.__dict__.setdefault("_pluria_source", {})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            chosen = re.search(include, name) and parameter.dim() >= 2 if include else quantized_by_default(
                name, parameter.shape)
            if not chosen or (exclude and re.search(exclude, name)):
                if name in source:  # another call had it rounded
                    parameter.copy_(source[name])
                continue
            original = source.setdefault(name, parameter.detach().cpu().clone())
            if k is None:
                parameter.copy_(original)
            else:
                values = member_values(original.float().numpy(), name, k, bits, seed, granularity, lattice)
                parameter.copy_(torch.from_numpy(values))
    return model
