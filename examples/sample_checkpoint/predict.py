# SPDX-License-Identifier: MIT
"""predict.py CHECKPOINT OUT [FOLDER_OF_MEMBERS]: logits of a Vision Transformer and of its members, by timm, over the test
and the validation images of Fashion-MNIST: OUT/test/logits-full.npy, logits-member-000.npy, ..., labels.npy; OUT/validation."""
import gzip
import pathlib
import sys

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

checkpoint, out = map(pathlib.Path, sys.argv[1:3])
members = sorted(pathlib.Path(sys.argv[3]).glob("member-*")) if len(sys.argv) > 3 else []
data = pathlib.Path(sys.argv[4] if len(sys.argv) > 4 else "/usr/share/datasets/fashion-mnist")
with safe_open(checkpoint, "np") as file:
    mean, std, heads = (float(file.metadata()[key]) for key in ("mean", "std", "num_heads"))
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.backends.cuda.matmul.allow_tf32 = False
state = load_file(checkpoint)
model = VisionTransformer(img_size=28, patch_size=4, in_chans=1, num_classes=10, embed_dim=state["pos_embed"].shape[-1],
                          depth=sum(name.endswith("norm1.weight") for name in state), num_heads=int(heads)).eval().to(device)
for split, name, first in (("test", "t10k", 0), ("validation", "train", 55000)):
    (out / split).mkdir(parents=True, exist_ok=True)
    labels = np.frombuffer(gzip.open(data / f"{name}-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)[first:]
    pixels = np.frombuffer(gzip.open(data / f"{name}-images-idx3-ubyte.gz").read(), np.uint8, offset=16)
    x = torch.tensor(pixels.reshape(-1, 1, 28, 28)[first:].astype(np.float32) / 255).sub(mean).div(std)
    np.save(out / split / "labels.npy", labels.astype(np.int32))
    for called, path in [("full", checkpoint)] + [(member.name, member / checkpoint.name) for member in members]:
        model.load_state_dict({key: value.float() for key, value in load_file(path).items()}, strict=True)
        with torch.no_grad():
            logits = torch.cat([model(part.to(device)).cpu() for part in x.split(1000)])
        np.save(out / split / f"logits-{called}.npy", logits.numpy())
