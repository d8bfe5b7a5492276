# SPDX-License-Identifier: MIT
"""generate.py MODEL IDS [MEMBERS] [LENGTH]: continues token ids ("1,15,7") with the mean next-token distribution of an
ensemble, greedily, in transformers. One copy of the model plays all members in turn, so every token draws all of them."""
import sys

import torch
from transformers import AutoModelForCausalLM

from pluria_members import load_member

model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
ids = torch.tensor([[int(token) for token in sys.argv[2].split(",")]])
members, length = (int(number) for number in (sys.argv[3:5] + ["8", "16"][len(sys.argv[3:5]):]))
for _ in range(length):
    mean = 0.0
    for k in range(members):
        load_member(model, k, bits=5, seed=1)
        with torch.no_grad():
            mean = mean + model(ids).logits[:, -1].double().softmax(-1) / members
    ids = torch.cat([ids, mean.argmax(-1, keepdim=True)], 1)
print(",".join(str(token) for token in ids[0].tolist()))
