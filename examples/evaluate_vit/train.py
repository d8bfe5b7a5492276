#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train the Vision Transformers that evaluate_vit reads, on Fashion-MNIST.

    python3 train.py --images DIR --output DIR --size small --seed 0

Needs PyTorch, timm and safetensors, and takes minutes on one GPU. DIR holds the four idx.gz files as
Debian's package dataset-fashion-mnist installs them (/usr/share/datasets/fashion-mnist).

Split: training images 0..54999 train, 55000..59999 are the validation set (never trained on: every
choice of bits, granularity, members and temperature is made there), the 10 000 test images only report.

Writes vit-<size>.safetensors (float16) with the metadata that evaluate_vit needs, and
vit-<size>-seed<seed>.json with the scores of the float16 weights, computed in float32.
"""
import argparse
import gzip
import json
import math
import pathlib
import time

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

SIZES = {
    "tiny": dict(embed_dim=64, depth=4, num_heads=2),
    "small": dict(embed_dim=128, depth=6, num_heads=4),
    "base": dict(embed_dim=256, depth=6, num_heads=8),
}
LEARNING_RATES = {"tiny": 2e-3, "small": 1e-3, "base": 3e-4}  # the best of two or three, by validation NLL
TRAINING_IMAGES = 55_000


def read_idx(path):
    with gzip.open(path) as stream:
        content = stream.read()
    dimensions = content[3]
    shape = [int.from_bytes(content[4 + 4 * d:8 + 4 * d], "big") for d in range(dimensions)]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def read_split(folder, name, device):
    images = torch.from_numpy(read_idx(folder / f"{name}-images-idx3-ubyte.gz").copy()).to(device)
    labels = torch.from_numpy(read_idx(folder / f"{name}-labels-idx1-ubyte.gz").copy()).to(device).long()
    return images.unsqueeze(1).float() / 255, labels


def augment(images, shift):
    """Flips half of the images and shifts each by up to `shift` pixels in both directions."""
    count, _, height, width = images.shape
    device = images.device
    padded = torch.nn.functional.pad(images, (shift, shift, shift, shift))
    top = torch.randint(0, 2 * shift + 1, (count, 1), device=device)
    left = torch.randint(0, 2 * shift + 1, (count, 1), device=device)
    rows = top + torch.arange(height, device=device)
    columns = left + torch.arange(width, device=device)
    flipped = torch.rand(count, 1, device=device) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    example = torch.arange(count, device=device)[:, None, None]
    return padded[example, 0, rows[:, :, None], columns[:, None, :]].unsqueeze(1)


@torch.no_grad()
def scores(model, images, labels):
    model.eval()
    log_probabilities = torch.cat([torch.log_softmax(model(part).double(), 1) for part in images.split(1000)])
    nll = torch.nn.functional.nll_loss(log_probabilities, labels).item()
    error = (log_probabilities.argmax(1) != labels).double().mean().item()
    return {"nll": nll, "err": error}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=pathlib.Path, default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, help="default: the size's own, see LEARNING_RATES")
    parser.add_argument("--shift", type=int, default=1)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    arguments = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(arguments.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    images, labels = read_split(arguments.images, "train", device)
    test_images, test_labels = read_split(arguments.images, "t10k", device)
    mean = images[:TRAINING_IMAGES].mean().item()
    std = images[:TRAINING_IMAGES].std().item()
    mean, std = round(mean, 4), round(std, 4)

    size = SIZES[arguments.size]
    model = VisionTransformer(img_size=28, patch_size=4, in_chans=1, num_classes=10, **size).to(device)
    decayed = [p for p in model.parameters() if p.ndim >= 2 and p.shape[0] != 1]
    kept = [p for p in model.parameters() if p.ndim < 2 or p.shape[0] == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": arguments.weight_decay}, {"params": kept, "weight_decay": 0.0}],
        lr=arguments.learning_rate or LEARNING_RATES[arguments.size], fused=device == "cuda")
    steps_per_epoch = TRAINING_IMAGES // arguments.batch
    total, warmup = arguments.epochs * steps_per_epoch, 2 * steps_per_epoch

    def rate(step):
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    started = time.time()
    for epoch in range(arguments.epochs):
        model.train()
        order = torch.randperm(TRAINING_IMAGES, device=device)
        running = torch.zeros((), device=device)
        for step in range(steps_per_epoch):
            chosen = order[step * arguments.batch:(step + 1) * arguments.batch]
            batch = (augment(images[chosen], arguments.shift) - mean) / std
            loss = torch.nn.functional.cross_entropy(model(batch), labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            running += loss.detach()
        if epoch % 5 == 4:
            validation = scores(model, (images[TRAINING_IMAGES:] - mean) / std, labels[TRAINING_IMAGES:])
            print(f"{arguments.size} seed {arguments.seed} epoch {epoch + 1}: training loss {running.item() / steps_per_epoch:.4f}, "
                  f"validation NLL {validation['nll']:.4f}, {time.time() - started:.0f} s", flush=True)

    model = model.half().float()  # what is written is what is scored
    report = {
        "size": arguments.size, "seed": arguments.seed, "epochs": arguments.epochs,
        "parameters": sum(p.numel() for p in model.parameters()),
        "validation": scores(model, (images[TRAINING_IMAGES:] - mean) / std, labels[TRAINING_IMAGES:]),
        "test": scores(model, (test_images - mean) / std, test_labels),
        "seconds": round(time.time() - started), "torch": torch.__version__, "timm": timm.__version__,
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    metadata = {
        "format": "pt", "architecture": "timm VisionTransformer", "num_heads": str(size["num_heads"]),
        "mean": str(mean), "std": str(std), "dataset": "Fashion-MNIST",
        "split": "training images 0..54999 trained on, 55000..59999 validation",
        "epochs": str(arguments.epochs), "seed": str(arguments.seed), "timm": timm.__version__,
    }
    state = {name: value.half().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(state, arguments.output / f"vit-{arguments.size}.safetensors", metadata)
    (arguments.output / f"vit-{arguments.size}-seed{arguments.seed}.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
