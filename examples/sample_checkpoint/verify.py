# SPDX-License-Identifier: MIT
"""Members in programs that are not ours: timm loads those of a Vision Transformer, transformers those of a LLaMA, and
both give what pluria gives. Needs PyTorch, timm, transformers and the built programs.

    python3 examples/sample_checkpoint/verify.py build/test/examples --dataset /usr/share/datasets/fashion-mnist
"""
import argparse
import gzip
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
import timm

from pluria_members import load_member

HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE.parent / "evaluate_vit/models/vit-small.safetensors"


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def vit(state):
    width, depth = state["pos_embed"].shape[-1], 1 + max(int(n.split(".")[1]) for n in state if n.startswith("blocks."))
    model = VisionTransformer(img_size=28, patch_size=4, in_chans=1, num_classes=10, embed_dim=width, depth=depth,
                              num_heads=4, mlp_ratio=state["blocks.0.mlp.fc1.weight"].shape[0] / width)
    model.load_state_dict({name: value.float() for name, value in state.items()}, strict=True)
    return model.eval()


@torch.no_grad()
def verify_vit(programs, dataset, folder):
    images, count = dataset / "t10k-images-idx3-ubyte.gz", 500
    with safe_open(MODEL, "np") as file:
        metadata = file.metadata()
    pixels = np.frombuffer(gzip.open(images).read(), np.uint8, count * 784, 16).reshape(count, 1, 28, 28)
    x = torch.tensor((pixels / 255 - float(metadata["mean"])) / float(metadata["std"])).float()
    for dtype in ("input", "F32"):
        run(programs / "sample_checkpoint", MODEL, "--output", folder / dtype, "--members", 2, "--seed", 1,
            "--dtype", dtype)
        for k in range(2):
            member = folder / dtype / f"member-{k:03}" / MODEL.name
            logits = folder / f"logits-{dtype}-{k}"
            run(programs / "evaluate_vit", "--model", member, "--images", images, "--labels",
                dataset / "t10k-labels-idx1-ubyte.gz", "--limit", count, "--bits", 8, "--members", 1, "--logits", logits)
            ours = np.load(logits / "full-precision/logits-000.npy")
            theirs = vit(load_file(member))(x).numpy()
            print(f"timm, member {k}, dtype {dtype}: load_state_dict(strict=True), {count} images, largest difference "
                  f"from pluria's logits {np.abs(ours - theirs).max():.1e} (logits up to {np.abs(theirs).max():.1f})")
            assert np.isfinite(theirs).all() and np.abs(ours - theirs).max() < 1e-4
            if dtype == "F32":
                in_place = load_member(vit(load_file(MODEL)), k, bits=5, seed=1).state_dict()
                assert all(torch.equal(in_place[name], value) for name, value in load_file(member).items())
                print(f"timm, member {k}: load_member's weights are the file's, bit for bit")


@torch.no_grad()
def verify_llama(programs, folder):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=256, hidden_size=128, intermediate_size=320, num_hidden_layers=3,
                                      num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256)
    source = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    source.save_pretrained(folder / "llama", max_shard_size="400KB")
    shards = sorted(path.name for path in (folder / "llama").glob("*.safetensors"))
    run(programs / "sample_checkpoint", folder / "llama", "--output", folder / "members", "--members", 3, "--bits", 4,
        "--granularity", "group:32", "--coupling", "lattice:4", "--seed", 7)
    ids, outputs = torch.arange(64)[None], []
    in_place = transformers.AutoModelForCausalLM.from_pretrained(folder / "llama", torch_dtype=torch.bfloat16)
    for k in (2, 0, 1):
        member = transformers.AutoModelForCausalLM.from_pretrained(folder / "members" / f"member-{k:03}",
                                                                   torch_dtype=torch.bfloat16)
        outputs.append(member(ids).logits.float())
        load_member(in_place, k, bits=4, granularity="group:32", lattice=4, seed=7)
        same = all(torch.equal(a, b) for a, b in zip(member.state_dict().values(), in_place.state_dict().values()))
        change = (outputs[-1] - source(ids).logits.float()).abs().max()
        print(f"transformers, member {k} of {len(shards)} shards: from_pretrained, finite logits, up to {change:.3f} from "
              f"the source's; load_member's weights are the files', bit for bit: {same}")
        assert same and torch.isfinite(outputs[-1]).all() and change > 0
    assert not torch.equal(outputs[0], outputs[1])
    load_member(in_place, None)
    assert all(torch.equal(a, b) for a, b in zip(source.state_dict().values(), in_place.state_dict().values()))
    text = subprocess.run([sys.executable, str(HERE / "generate.py"), str(folder / "llama"), "1,2,3", "4", "8"],
                          check=True, capture_output=True, text=True).stdout.strip()
    print(f"generate.py, 4 members: {text}")
    assert text.startswith("1,2,3,") and text.count(",") == 10


parser = argparse.ArgumentParser()
parser.add_argument("programs", type=pathlib.Path)
parser.add_argument("--dataset", type=pathlib.Path, default=pathlib.Path("/usr/share/datasets/fashion-mnist"))
arguments = parser.parse_args()
print(f"PyTorch {torch.__version__}, timm {timm.__version__}, transformers {transformers.__version__}")
with tempfile.TemporaryDirectory() as scratch:
    verify_vit(arguments.programs, arguments.dataset, pathlib.Path(scratch))
    verify_llama(arguments.programs, pathlib.Path(scratch))
