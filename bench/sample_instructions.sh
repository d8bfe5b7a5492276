#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Instructions per weight of the two main kernels, counted by callgrind, so the same on any machine: one INT-4 member from
# float32, and eight lattice members in one pass; built for AVX2 (valgrind 3.19 knows no AVX-512). Needs valgrind.
#
#   cmake --preset bench && cmake --build build/bench --target sample_instructions && bash bench/sample_instructions.sh
set -euo pipefail
program=${1:-build/bench/bench/sample_instructions}

# What 3 passes take more than 1: two passes over 65536 weights, without the making of the weights.
count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 | sed -n 's/.*Collected : //p'
}
for kernel in one lattice; do
  few=$(count $kernel 1)
  more=$(count $kernel 3)
  awk -v kernel=$kernel -v n=$((more - few)) \
    'BEGIN { printf "%s: %.3f instructions per weight, %.1f per block of 128\n", kernel, n / 131072, n / 1024 }'
done
