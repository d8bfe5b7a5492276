#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes reference/*.txt: scores of synthetic members by PyTorch and NumPy, by other formulas than the library's.

Inputs are made from integers by the same hash as in tests/metrics/reference.hpp, so only results are stored. Lines are
a name and its numbers. Run with Debian's python3-torch and python3-numpy: python3 tests/metrics/make_reference.py
"""
import itertools
import math
import os
from fractions import Fraction

import numpy as np
import torch

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference")
EXAMPLES, CLASSES, MEMBERS, GROUPS = 400, 10, 5, 23
MASK = (1 << 64) - 1
torch.set_default_dtype(torch.float64)


def hashed(index):
    """splitmix64."""
    z = (index + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def base(example, c):
    if example == 0:  # the two largest tie
        return 3 << 16 if c in (4, 7) else 0
    if example == 1:  # all tie
        return 0
    return (hashed(example * CLASSES + c) >> 44) - (1 << 19)


def logit(member, example, c):
    if example == 3 and c in (2, 5):
        return -math.inf
    if example == 4 and c == 6:
        return -900.0
    noise = 0 if example < 2 else (hashed((member + 1) * 1000003 + example * CLASSES + c) >> 46) - (1 << 17)
    return (base(example, c) + noise) / 65536.0


def label(example):
    if example == 3:
        return 1
    if example == 4:
        return 6
    draw = hashed(77000000 + example)
    if draw % 4 == 3:
        return (draw >> 8) % CLASSES
    return max(range(CLASSES), key=lambda c: (base(example, c), -c))


def group(example):
    return (hashed(88000000 + example) >> 3) % GROUPS * 5 - 7


def write(name, lines):
    with open(os.path.join(FOLDER, name), "w") as file:
        for key, values in lines.items():
            values = np.atleast_1d(np.asarray(values, dtype=np.float64))
            file.write(key + "".join(" " + repr(float(v)) for v in values) + "\n")


def ece(confidences, correct, bins=15):
    """The textbook form, weights times differences of bin means; bins by searching the edges."""
    edges = [Fraction(m + 1, bins) for m in range(bins)]
    members = [[] for _ in range(bins)]
    for confidence, right in zip(confidences, correct):
        m = next((m for m, edge in enumerate(edges) if Fraction(float(confidence)) <= edge), bins - 1)
        members[m].append((float(confidence), bool(right)))
    total = len(confidences)
    return math.fsum(
        len(b) / total * abs(math.fsum(c for c, _ in b) / len(b) - sum(r for _, r in b) / len(b)) for b in members if b)


def bootstrap(confidences, correct, resamples, bins=15):
    rng = np.random.default_rng(20240601)
    bin_of = np.clip(np.ceil(bins * confidences) - 1, 0, bins - 1).astype(int)
    gap = confidences - correct
    values = []
    for _ in range(resamples):
        drawn = rng.integers(0, len(gap), len(gap))
        values.append(np.abs(np.bincount(bin_of[drawn], weights=gap[drawn], minlength=bins)).sum() / len(gap))
    values = np.array(values)
    kurtosis = ((values - values.mean()) ** 4).mean() / values.var() ** 2
    return values.std(ddof=1), kurtosis


def fitted_temperature(table, labels):
    """Bisection on the derivative that autograd takes of cross_entropy(beta * log p)."""
    low, high = math.log(0.01), math.log(100.0)
    for _ in range(80):
        middle = 0.5 * (low + high)
        beta = torch.tensor(math.exp(-middle), requires_grad=True)
        finite = torch.where(torch.isinf(table), torch.tensor(-1e30), table)  # the same distribution, and no 0 * inf
        torch.nn.functional.cross_entropy(beta * finite, labels).backward()
        if beta.grad > 0:  # NLL grows with beta: a larger temperature is better
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


def naive_group_error(differences, groups):
    mean = differences.mean()
    sums = {}
    for d, g in zip(differences, groups):
        sums[g] = sums.get(g, 0.0) + (d - mean)
    count = len(sums)
    return math.sqrt(count / (count - 1) * math.fsum(v * v for v in sums.values())) / len(differences)


logits = torch.tensor([[[logit(k, i, c) for c in range(CLASSES)] for i in range(EXAMPLES)] for k in range(MEMBERS)])
assert torch.equal(logits, logits.float().double()), "inputs must be floats"
labels = torch.tensor([label(i) for i in range(EXAMPLES)])
groups = [group(i) for i in range(EXAMPLES)]
members = torch.log_softmax(logits, dim=2)
probabilities = members.exp()
one_hot = torch.nn.functional.one_hot(labels, CLASSES).double()

lines = {"labels_sum": labels.sum(), "groups": len(set(groups))}
for count in range(1, MEMBERS + 1):
    mean = torch.logsumexp(members[:count], dim=0) - math.log(count)
    key = lambda name: f"{name}_{count}"  # noqa: E731
    lowest_best = np.array([next(c for c in range(CLASSES) if row[c] == row.max()) for row in mean.numpy()])
    correct = lowest_best == labels.numpy()
    confidences = mean.exp().max(dim=1).values.numpy()
    entropy = torch.distributions.Categorical(logits=mean.clamp(min=-1e300)).entropy()
    member_entropy = torch.distributions.Categorical(logits=members[:count].clamp(min=-1e300)).entropy().mean(dim=0)
    votes = np.array([[next(c for c in range(CLASSES) if row[c] == row.max()) for row in member.numpy()]
                      for member in members[:count]])
    pairs = list(itertools.combinations(range(count), 2))
    lines[key("nll")] = torch.nn.functional.nll_loss(mean, labels)
    lines[key("err")] = 1.0 - correct.mean()
    lines[key("brier")] = ((mean.exp() - one_hot) ** 2).sum(dim=1).mean()
    lines[key("ece")] = ece(confidences, correct)
    lines[key("confidence_gap")] = confidences.mean() - correct.mean()
    lines[key("mean_member_nll")] = torch.stack(
        [torch.nn.functional.nll_loss(m, labels) for m in members[:count]]).mean()
    lines[key("mean_member_err")] = (votes != labels.numpy()).mean()
    lines[key("disagreement")] = np.mean([(votes[a] != votes[b]).mean() for a, b in pairs]) if pairs else 0.0
    lines[key("entropy")] = entropy.mean()
    lines[key("mutual_information")] = (entropy - member_entropy).mean()
    lines[key("temperature")] = fitted_temperature(mean, labels)
    lines[key("calibrated_nll")] = torch.nn.functional.cross_entropy(
        torch.where(torch.isinf(mean), torch.tensor(-1e30), mean) / lines[key("temperature")], labels)
full = torch.logsumexp(members, dim=0) - math.log(MEMBERS)
lines["label_log_probabilities"] = full[torch.arange(EXAMPLES), labels]
lines["temperature_without_outlier"] = fitted_temperature(full[5:], labels[5:])
lines["row_3"] = full[3]
lines["row_4"] = full[4]
lines["entropies"] = torch.distributions.Categorical(logits=full.clamp(min=-1e300)).entropy()
difference = (members[0] - full)[torch.arange(EXAMPLES), labels].numpy()  # NLL of the ensemble - NLL of member 0
lines["difference"] = difference.mean()
lines["difference_error"] = difference.std(ddof=1) / math.sqrt(EXAMPLES)
lines["difference_group_error"] = naive_group_error(difference, groups)
correct = (full.argmax(dim=1) == labels).numpy()
error, kurtosis = bootstrap(full.exp().max(dim=1).values.numpy(), correct.astype(float), 20000)
lines["ece_standard_error"] = error
lines["ece_kurtosis"] = kurtosis
write("scores.txt", lines)

# Confidences at 0, 1 and at, just below and just above every edge k/15. The bin is clamp(ceil(x) - 1, 0, 14) of the
# product 15 * confidence rounded to double; a Fraction converts to float with correct rounding.
edges = {"confidence": [], "bin": [], "correct": []}
for k in range(16):
    middle = k / 15
    for confidence in (np.nextafter(middle, -1.0), middle, np.nextafter(middle, 2.0)):
        if 0.0 <= confidence <= 1.0:
            product = float(15 * Fraction(float(confidence)))
            edges["confidence"].append(confidence)
            edges["bin"].append(min(max(math.ceil(product) - 1, 0), 14))
            edges["correct"].append(hashed(99000000 + len(edges["bin"])) % 3 != 0)
sums = [Fraction(0)] * 15
for confidence, b, right in zip(*edges.values()):
    sums[b] += Fraction(float(confidence)) - int(right)
edges["ece"] = float(sum(abs(s) for s in sums) / len(edges["bin"]))
write("edges.txt", edges)
