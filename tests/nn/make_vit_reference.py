#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write timm's own logits for small Vision Transformers, as references for tests/nn/vit.cpp.

    python3 make_vit_reference.py OUTPUT_DIR

Each configuration writes <name>.safetensors (weights, in the dtype named below) and <name>.npy (float32
logits of two images). The images are made from integers on both sides: byte i of the (N, C, H, W) array
is the top byte of the 32-bit product i * 2654435761.
"""
import pathlib
import sys

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

CONFIGURATIONS = {
    "token": (torch.float32, dict(img_size=28, patch_size=4, in_chans=1, num_classes=10, embed_dim=32, depth=2, num_heads=4)),
    "average_no_token_no_bias": (torch.bfloat16, dict(
        img_size=32, patch_size=8, in_chans=3, num_classes=7, embed_dim=48, depth=2, num_heads=3, mlp_ratio=2.0,
        qkv_bias=False, class_token=False, global_pool="avg")),
    "average_with_token": (torch.float16, dict(
        img_size=24, patch_size=4, in_chans=3, num_classes=5, embed_dim=40, depth=3, num_heads=5,
        global_pool="avg", no_embed_class=True)),
    "average_norm": (torch.float32, dict(
        img_size=12, patch_size=4, in_chans=1, num_classes=4, embed_dim=16, depth=2, num_heads=2,
        class_token=False, global_pool="avg", fc_norm=False)),
    "patch16_224": (torch.float16, dict(img_size=224, patch_size=16, in_chans=3, num_classes=10, embed_dim=48, depth=2, num_heads=3)),
}
MEAN = {1: [0.286], 3: [0.485, 0.456, 0.406]}
STD = {1: [0.353], 3: [0.229, 0.224, 0.225]}


def images(count, channels, size):
    index = np.arange(count * channels * size * size, dtype=np.uint64)
    product = (index * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    return (product >> np.uint64(24)).astype(np.uint8).reshape(count, channels, size, size)


def main():
    output = pathlib.Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    for name, (dtype, configuration) in CONFIGURATIONS.items():
        torch.manual_seed(sum(name.encode()))
        model = VisionTransformer(**configuration).eval()
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if parameter.ndim >= 2 and "embed" not in parameter_name.replace("patch_embed", ""):
                    parameter.normal_(0, (parameter[0].numel()) ** -0.5)  # logits of order one, attention not uniform
                elif "norm" in parameter_name and parameter_name.endswith("weight"):
                    parameter.normal_(1, 0.2)
                else:
                    parameter.normal_(0, 0.2)
                parameter.copy_(parameter.to(dtype).float())
            channels, size = configuration["in_chans"], configuration["img_size"]
            mean = torch.tensor(MEAN[channels]).view(1, -1, 1, 1)
            std = torch.tensor(STD[channels]).view(1, -1, 1, 1)
            pixels = torch.from_numpy(images(2, channels, size)).float() / 255
            logits = model((pixels - mean) / std)
        metadata = {"format": "pt", "num_heads": str(configuration["num_heads"]), "timm": timm.__version__,
                    "mean": ",".join(map(str, MEAN[channels])), "std": ",".join(map(str, STD[channels]))}
        save_file({key: value.to(dtype).contiguous() for key, value in model.state_dict().items()},
                  output / f"{name}.safetensors", metadata)
        np.save(output / f"{name}.npy", logits.numpy())
        print(name, "epsilon", model.blocks[0].norm1.eps, "logits", logits[0, :4].tolist())


if __name__ == "__main__":
    main()
