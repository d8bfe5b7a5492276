# SPDX-License-Identifier: MIT
"""check_members.py SAMPLE_CHECKPOINT MODEL FOLDER: whether pluria_members.py makes the members that sample_checkpoint
writes, bit for bit, for every width, granularity and coupling of a list. Reads safetensors by itself."""
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples/sample_checkpoint"))
import pluria_members as members  # noqa: E402


def tensors(path):
    raw = pathlib.Path(path).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8:8 + length]), raw[8 + length:]
    header.pop("__metadata__", None)
    types = {"F32": "<f4", "F16": "<f2"}
    return {name: np.frombuffer(data[slice(*entry["data_offsets"])], types[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items()}


def write_stack(path):
    """A checkpoint of three dimensions: matrices of four experts, and a convolution over one."""
    shapes = {"experts.weight": (4, 3, 64), "conv.weight": (8, 4, 3)}
    data, header, place = b"", {}, 0
    for name, shape in shapes.items():
        values = np.sin(np.arange(np.prod(shape), dtype=np.float64) ** 2).astype("<f4")
        values[::17] *= 5  # so that no two granules are alike
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [place, place + values.nbytes]}
        data, place = data + values.tobytes(), place + values.nbytes
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(len(text).to_bytes(8, "little") + text + data)


def main(program, model, folder):
    stack = folder + "_stack.safetensors"
    write_stack(stack)
    checked = sum(check(program, path, folder) for path in (model, stack))
    assert checked > 2_000_000, checked
    print(f"{checked} weights of members are the same")


def check(program, model, folder):
    source, checked = tensors(model), 0
    # Every width once, and every other thing that decides bits: scales, lattices, large seeds and members, dtypes.
    cases = [(bits, "channel", 1, 1, 3, "F32") for bits in range(2, 9)]
    cases += [(5, "tensor", 1, 2**40 + 7, 0, "F32"), (4, "group:48", 1, 1, 70000, "F32"), (4, "group:32", 8, 1, 13, "F32"),
              (4, "channel", 256, 5, 257, "F32"), (4, "channel", 2, 5, 3, "input")]
    for bits, granularity, lattice, seed, k, dtype in cases:
        shutil.rmtree(folder, ignore_errors=True)
        coupling = "independent" if lattice == 1 else f"lattice:{lattice}"
        subprocess.run([program, model, "--output", folder, "--bits", str(bits), "--granularity", granularity,
                        "--coupling", coupling, "--seed", str(seed), "--first", str(k), "--members", "1",
                        "--dtype", dtype], check=True, stdout=subprocess.DEVNULL)
        found = tensors(pathlib.Path(folder) / f"member-{k:03}" / pathlib.Path(model).name)
        assert found.keys() == source.keys()
        for name, weights in source.items():
            expected = weights
            if members.quantized_by_default(name, weights.shape):
                expected = members.member_values(weights, name, k, bits, seed, granularity, lattice)
                expected = expected.astype(found[name].dtype)
                checked += expected.size
                assert (expected != weights).any(), name
            assert found[name].tobytes() == expected.tobytes(), f"{name}: other bits, {bits} bits, {granularity}, {coupling}"
    return checked


def check_refusals():
    for other in ("NF4", "INT-5", 1, 9):  # what is not symmetric INT-b, 2..8 bits, is refused and not drawn as if it were
        for granularity in ("tensor", "channel", "group:32"):
            try:
                members.member_values(np.ones((2, 64), np.float32), "w", 0, bits=other, granularity=granularity)
            except ValueError as error:
                assert "symmetric INT-b" in str(error) and repr(other) in str(error)
            else:
                raise AssertionError(f"bits={other!r} was taken")


check_refusals()
main(*sys.argv[1:])
