#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train the small network of the quickstart: 784-128-10 with a ReLU, on Fashion-MNIST (training images 0..54999).

    python3 train.py --images /usr/share/datasets/fashion-mnist --output mlp.safetensors

Needs PyTorch and numpy (Debian: python3-torch python3-numpy); takes about a minute on a CPU.
"""
import argparse
import gzip
import json
import pathlib

import numpy as np
import torch


def read_idx(path, header):
    with gzip.open(path) as stream:
        return torch.from_numpy(np.frombuffer(stream.read(), np.uint8, offset=header).copy())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=pathlib.Path, default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    images = read_idx(arguments.images / "train-images-idx3-ubyte.gz", 16).reshape(-1, 784).float()[:55_000] / 255
    labels = read_idx(arguments.images / "train-labels-idx1-ubyte.gz", 8).long()[:55_000]
    model = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    epochs, batch = 20, 100
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(images) // batch)
    for epoch in range(epochs):
        for chosen in torch.randperm(len(images)).split(batch):
            loss = torch.nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: last loss {loss.item():.4f}", flush=True)

    # A safetensors file by hand: 8 bytes of header length, the header, the bytes.
    names = {"0.weight": "hidden.weight", "0.bias": "hidden.bias", "2.weight": "output.weight", "2.bias": "output.bias"}
    header, content = {"__metadata__": {"dataset": "Fashion-MNIST, training images 0..54999"}}, b""
    for key, value in model.state_dict().items():
        values = value.numpy().astype(np.float16)
        header[names[key]] = {"dtype": "F16", "shape": list(values.shape),
                              "data_offsets": [len(content), len(content) + values.nbytes]}
        content += values.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    arguments.output.write_bytes(len(text).to_bytes(8, "little") + text + content)


if __name__ == "__main__":
    main()
