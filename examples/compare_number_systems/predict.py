# SPDX-License-Identifier: MIT
"""predict.py CHECKPOINT FOLDER SAMPLE_CHECKPOINT < PLAN

What compare_number_systems --predictions FOLDER reads, for studies that a GPU makes in minutes. PLAN is what
compare_number_systems --plan prints; its members are made by SAMPLE_CHECKPOINT, run by timm over the test and the
validation images of Fashion-MNIST (DATA, 10 000 and 5 000 of them) in float32, and removed."""
import concurrent.futures
import gzip
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

checkpoint, folder, sample_checkpoint = map(pathlib.Path, sys.argv[1:4])
data = pathlib.Path(os.environ.get("DATA", "/usr/share/datasets/fashion-mnist"))
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

with safe_open(checkpoint, "np") as file:
    mean, std, heads = (float(file.metadata()[key]) for key in ("mean", "std", "num_heads"))
state = load_file(checkpoint)
model = VisionTransformer(img_size=28, patch_size=4, in_chans=1, num_classes=10, embed_dim=state["pos_embed"].shape[-1],
                          depth=sum(name.endswith("norm1.weight") for name in state), num_heads=int(heads))
model = model.eval().to(device)


def images(name, first):
    """The images of a file from `first` on, as the network takes them: [N, 1, 28, 28]."""
    pixels = np.frombuffer(gzip.open(data / f"{name}-images-idx3-ubyte.gz").read(), np.uint8, offset=16)
    values = pixels.reshape(-1, 1, 28, 28)[first:].astype(np.float32) / 255
    return torch.tensor(values).sub(mean).div(std).to(device)


splits = {"test": images("t10k", 0), "validation": images("train", 55000)}


def predict(file, out):
    """Writes the logits of the checkpoint in `file` to out/test.npy and out/validation.npy."""
    model.load_state_dict({name: value.float() for name, value in load_file(file, device=device).items()}, strict=True)
    out.mkdir(parents=True, exist_ok=True)
    for split, pixels in splits.items():
        with torch.no_grad():
            logits = torch.cat([model(part) for part in pixels.split(2500)])
        np.save(out / f"{split}.npy", logits.cpu().numpy())


def sample(place, arguments):
    """Makes the members of one line of the plan, in float32, which holds every value of a grid."""
    subprocess.run([sample_checkpoint, checkpoint, "--dtype", "F32", "--output", folder / "members" / place,
                    *shlex.split(arguments)], check=True, stdout=subprocess.DEVNULL)


plan = [line.rstrip("\n").split("\t") for line in sys.stdin]
predict(checkpoint, folder / "full")
started = time.time()
with concurrent.futures.ThreadPoolExecutor(3) as samplers:  # a little ahead of the network
    waiting = [samplers.submit(sample, *line) for line in plan[:3]]
    for done, (place, _) in enumerate(plan, 1):
        waiting.pop(0).result()
        if done + 2 < len(plan):
            waiting.append(samplers.submit(sample, *plan[done + 2]))
        made = folder / "members" / place
        files = sorted(made.glob(f"*/{checkpoint.name}"))
        if not files:
            sys.exit(f"{made}: no member with {checkpoint.name}")
        for file in files:
            # RTN is a single member, and its place that of a single prediction.
            predict(file, folder / place if file.parent.name == "nearest" else folder / place / file.parent.name)
        shutil.rmtree(made)
        if sys.stderr.isatty():
            left = (time.time() - started) / done * (len(plan) - done)
            print(f"\r{done} of {len(plan)}, {left:.0f} s left ", end="", file=sys.stderr)
