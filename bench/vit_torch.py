#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Time one member of the middle Vision Transformer over Fashion-MNIST's test images: PyTorch eager against bench_vit.

    python3 bench/vit_torch.py build/bench/bench/bench_vit --threads 2

Needs PyTorch and numpy (Debian: python3-torch python3-numpy). The network is timm's VisionTransformer written out with
PyTorch's own layers, float32, batch 250, and its logits are compared with ours. The two take turns.
"""
import argparse
import gzip
import json
import pathlib
import statistics
import subprocess
import time

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL = ROOT / "examples/evaluate_vit/models/vit-small.safetensors"


class Attention(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv = torch.nn.Linear(width, 3 * width)
        self.proj = torch.nn.Linear(width, width)

    def forward(self, x):
        count, tokens, width = x.shape
        query, key, value = self.qkv(x).reshape(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query * self.scale @ key.transpose(-2, -1)).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(count, tokens, width))


class Mlp(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.act, self.fc2 = torch.nn.Linear(width, 4 * width), torch.nn.GELU(), torch.nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Block(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attn = torch.nn.LayerNorm(width, eps=1e-6), Attention(width, heads)
        self.norm2, self.mlp = torch.nn.LayerNorm(width, eps=1e-6), Mlp(width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(torch.nn.Module):
    def __init__(self, width, depth, heads):
        super().__init__()
        self.patch_embed = torch.nn.Module()
        self.patch_embed.proj = torch.nn.Conv2d(1, width, 4, 4)
        self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = torch.nn.Parameter(torch.zeros(1, 50, width))
        self.blocks = torch.nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.head = torch.nn.LayerNorm(width, eps=1e-6), torch.nn.Linear(width, 10)

    def forward(self, images):
        x = self.patch_embed.proj(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def read_safetensors(path):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        values = np.frombuffer(content[8 + length + first:8 + length + last], np.float16)
        tensors[name] = torch.from_numpy(values.astype(np.float32).reshape(entry["shape"]))
    return tensors, metadata


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench_vit", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=pathlib.Path,
                        default="/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
    parser.add_argument("--limit", type=int, default=10_000)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    tensors, metadata = read_safetensors(MODEL)
    model = VisionTransformer(128, 6, int(metadata["num_heads"])).eval()
    model.load_state_dict(tensors)
    with gzip.open(arguments.images) as stream:
        pixels = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    images = (torch.from_numpy(pixels.copy()).float() / 255 - float(metadata["mean"])) / float(metadata["std"])
    images = images[:arguments.limit]

    theirs, ours = [], []
    with torch.inference_mode():
        for _ in range(arguments.repeats):
            started = time.perf_counter()
            logits = torch.cat([model(batch) for batch in images.split(250)])
            theirs.append(time.perf_counter() - started)
            output = subprocess.run([arguments.bench_vit, "--model", MODEL, "--images", arguments.images, "--threads",
                                     str(arguments.threads), "--limit", str(len(images))], check=True, capture_output=True, text=True).stdout
            result = json.loads(output)
            ours.append(result["seconds"])
            print(f"PyTorch {torch.__version__} {theirs[-1]:.2f} s, pluria {ours[-1]:.2f} s "
                  f"({result['gflops']:.0f} GFLOP/s, Eigen's GEMM {result['eigen_gflops']:.0f})", flush=True)
    difference = np.abs(logits[:len(result["logits"])].numpy() - np.array(result["logits"])).max()
    assert difference < 1e-3, f"the logits differ by {difference}"
    print(f"{arguments.threads} threads, {len(images)} images: PyTorch {statistics.median(theirs):.2f} s, "
          f"pluria {statistics.median(ours):.2f} s, ratio {statistics.median(ours) / statistics.median(theirs):.2f}; "
          f"largest difference of logits {difference:.1e}; "
          f"drawing the member took {100 * result['drawing_share']:.2f} % of its time")


if __name__ == "__main__":
    main()
