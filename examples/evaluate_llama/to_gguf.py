#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the byte-level LLaMA as a GGUF file that llama.cpp runs.

    python3 to_gguf.py MODEL_DIR OUTPUT.gguf

Needs NumPy and the gguf package. Weights stay float16, norms become float32, as llama.cpp has them, and rows
of queries and keys are put into the order of its rotary embeddings. Tokens are bytes: the vocabulary is that
of a SentencePiece model with nothing but bytes, in which a blank is U+2581.
"""
import json
import pathlib
import sys

import gguf
import numpy as np


def read_safetensors(path):
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + size])
    header.pop("__metadata__", None)
    types = {"F32": np.float32, "F16": np.float16}
    return {name: np.frombuffer(content[8 + size:][slice(*entry["data_offsets"])], types[entry["dtype"]])
            .reshape(entry["shape"]) for name, entry in header.items()}


def in_gguf_order(weights, heads):
    """Halves of a head side by side become neighbours."""
    return weights.reshape(heads, 2, -1, weights.shape[1]).swapaxes(1, 2).reshape(weights.shape)


def main():
    folder, output = pathlib.Path(sys.argv[1]), sys.argv[2]
    config = json.loads((folder / "config.json").read_text())
    heads, key_value_heads = config["num_attention_heads"], config["num_key_value_heads"]
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    writer = gguf.GGUFWriter(output, "llama")
    writer.add_name("byte-llama")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_value_heads)
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["\u2581" if byte == 0x20 else f"<0x{byte:02X}>" for byte in range(256)])
    writer.add_token_scores([0.0] * 256)
    writer.add_token_types([gguf.TokenType.NORMAL if byte == 0x20 else gguf.TokenType.BYTE for byte in range(256)])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    for name, weights in read_safetensors(folder / "model.safetensors").items():
        if weights.ndim == 1:
            weights = weights.astype(np.float32)
        elif ".q_proj." in name or ".k_proj." in name:
            weights = in_gguf_order(weights, heads if ".q_proj." in name else key_value_heads)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(weights))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
