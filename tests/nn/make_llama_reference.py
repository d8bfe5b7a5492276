#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write transformers' own logits for small LLaMAs, as references for tests/nn/llama.cpp.

    python3 make_llama_reference.py OUTPUT_DIR

Each configuration writes a folder: config.json and weights as save_pretrained writes them (in the dtype and
shards named below), tokens.npy (int32, [T]) and logits.npy (float32, [T, vocabulary]: the logits that follow
each token). Token i is the top byte of the 32-bit product i * 2654435761, modulo the vocabulary.
"""
import pathlib
import sys

import numpy as np
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

BASE = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False)
CONFIGURATIONS = {
    "llama_full": (torch.float32, "1GB", 40, BASE | dict(num_key_value_heads=4, rms_norm_eps=1e-5)),
    "llama_grouped_tied": (torch.float32, "24KB", 40, BASE | dict(tie_word_embeddings=True, num_hidden_layers=3)),
    "llama_scaled": (torch.bfloat16, "1GB", 160, BASE | dict(
        max_position_embeddings=256, rope_theta=500000.0, rope_scaling=dict(
            rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=32))),
    "llama_bias": (torch.float16, "1GB", 40, BASE | dict(
        attention_bias=True, mlp_bias=True, head_dim=12, num_key_value_heads=1, rope_theta=1000.0)),
}


def tokens_of(count, vocabulary):
    product = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    return ((product >> np.uint64(24)) % np.uint64(vocabulary)).astype(np.int32)


def main():
    output = pathlib.Path(sys.argv[1])
    for name, (dtype, shard_size, count, settings) in CONFIGURATIONS.items():
        torch.manual_seed(sum(name.encode()))
        model = LlamaForCausalLM(LlamaConfig(**settings)).eval()
        tokens = tokens_of(count, settings["vocab_size"])
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if "norm" in parameter_name:
                    parameter.normal_(1, 0.2)
                elif parameter.ndim == 1 or "embed" in parameter_name:
                    parameter.normal_(0, 0.3)
                else:
                    parameter.normal_(0, parameter.shape[1] ** -0.5)  # logits of order one, attention not uniform
                parameter.copy_(parameter.to(dtype).float())
            logits = model(torch.from_numpy(tokens).long()[None]).logits[0]
        model.to(dtype).save_pretrained(output / name, max_shard_size=shard_size)
        (output / name / "generation_config.json").unlink(missing_ok=True)
        np.save(output / name / "tokens.npy", tokens)
        np.save(output / name / "logits.npy", logits.numpy())
        print(name, "transformers", transformers.__version__, model.config.rope_parameters, "logits",
              logits[-1, :4].tolist(), sorted(path.name for path in (output / name).iterdir()))


if __name__ == "__main__":
    main()
