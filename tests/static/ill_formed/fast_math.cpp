// SPDX-License-Identifier: MIT
// expected: compile without -ffast-math
// flags: -ffast-math

#include <pluria/core/ieee.hpp>

int main() {}
