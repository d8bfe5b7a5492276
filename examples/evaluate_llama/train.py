#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train the byte-level LLaMA that evaluate_llama and generate read, on the Python documentation.

    python3 train.py --documents DIR --output DIR

Needs PyTorch, transformers and safetensors, and takes minutes on one GPU. DIR is the folder of
reStructuredText that Debian's package python3.11-doc (3.11.2-6+deb12u9) installs:
/usr/share/doc/python3.11/html/_sources. Tokens are bytes, so that there is no tokenizer.

Split by document: the SHA-256 of its path, modulo 10, makes it held-out text (0), calibration text (1) or
training text. The calibration text chooses the epoch that is kept, and nothing else; programs fit their
temperatures on it. The held-out text only reports.

Writes config.json, model.safetensors (float16), training.json (losses of the float16 weights, computed in
float32), held_out.txt.gz and calibration.txt.gz.
"""
import argparse
import copy
import gzip
import hashlib
import json
import math
import pathlib
import time

import numpy as np
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

CONTEXT = 512
BATCH = 64
EPOCHS = 6
LEARNING_RATE = 2e-3
WARM_UP = 200  # steps


def read_split(folder):
    parts = {"training": [], "calibration": [], "held_out": []}
    for path in sorted(folder.rglob("*.txt")):
        name = path.relative_to(folder).as_posix()
        place = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10
        part = {0: "held_out", 1: "calibration"}.get(place, "training")
        parts[part].append((name, path.read_bytes()))
    return parts


def text_of(documents):
    return b"".join(content for _, content in documents)


def tokens_of(text, device):
    return torch.from_numpy(np.frombuffer(text, np.uint8).copy()).to(device)


@torch.no_grad()
def loss_of(model, tokens, windows=None):
    """Mean over the predicted tokens of whole windows; in each, all but the first are predicted."""
    count = len(tokens) // CONTEXT
    rows = tokens[:count * CONTEXT].view(count, CONTEXT)
    if windows is not None and windows < count:
        rows = rows[torch.linspace(0, count - 1, windows, device=rows.device).long()]
    total = 0.0
    for batch in rows.split(BATCH):
        batch = batch.long()
        logits = model(batch).logits[:, :-1].float()
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum").item()
    return total / (len(rows) * (CONTEXT - 1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(arguments.seed)
    torch.set_float32_matmul_precision("high")

    parts = read_split(arguments.documents)
    texts = {name: text_of(documents) for name, documents in parts.items()}
    tokens = {name: tokens_of(text, device) for name, text in texts.items()}
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=256, hidden_size=256, intermediate_size=704, num_hidden_layers=6, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=2 * CONTEXT, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=None)).to(device)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=LEARNING_RATE, betas=(0.9, 0.95))
    steps_per_epoch = len(tokens["training"]) // (BATCH * CONTEXT)
    steps = EPOCHS * steps_per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min(1, (n + 1) / WARM_UP) * (0.5 * (1 + math.cos(math.pi * n / steps)) * 0.95 + 0.05))
    offsets = torch.arange(CONTEXT, device=device)
    best, best_loss, epochs = None, math.inf, []
    started = time.time()
    for step in range(steps):
        first = torch.randint(0, len(tokens["training"]) - CONTEXT, (BATCH, 1), device=device)
        batch = tokens["training"][first + offsets].long()
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = model(batch).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % steps_per_epoch == 0:
            of_calibration = loss_of(model, tokens["calibration"])
            epochs.append({"epoch": (step + 1) // steps_per_epoch, "last_batch": round(loss.item(), 4),
                           "calibration": round(of_calibration, 4)})
            print(epochs[-1], f"{time.time() - started:.0f} s", flush=True)
            if of_calibration < best_loss:
                best, best_loss = copy.deepcopy(model.state_dict()), of_calibration
    model.load_state_dict(best)

    torch.set_float32_matmul_precision("highest")
    model = model.half()
    model.save_pretrained(arguments.output)
    (arguments.output / "generation_config.json").unlink(missing_ok=True)
    rounded = model.float().eval()
    report = {
        "documents": {name: len(documents) for name, documents in parts.items()},
        "bytes": {name: len(text) for name, text in texts.items()},
        "parameters": sum(p.numel() for p in model.parameters()),
        "seed": arguments.seed, "torch": torch.__version__, "transformers": transformers.__version__,
        "epochs": epochs,
        # The training text is larger: as many windows, evenly spread.
        "loss": {"training": loss_of(rounded, tokens["training"], len(tokens["held_out"]) // CONTEXT),
                 "calibration": loss_of(rounded, tokens["calibration"]),
                 "held_out": loss_of(rounded, tokens["held_out"])},
        "held_out_documents": [name for name, _ in parts["held_out"]],
        "calibration_documents": [name for name, _ in parts["calibration"]],
    }
    (arguments.output / "training.json").write_text(json.dumps(report, indent=1) + "\n")
    for name in ("calibration", "held_out"):
        (arguments.output / f"{name}.txt.gz").write_bytes(gzip.compress(texts[name], 9, mtime=0))
    print(json.dumps(report["loss"]), report["parameters"], "parameters")


if __name__ == "__main__":
    main()
