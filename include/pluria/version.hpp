// SPDX-License-Identifier: MIT
#pragma once
// The library's version: the one place where it is written. CMake reads it from here.

#define PLURIA_VERSION_MAJOR 0
#define PLURIA_VERSION_MINOR 1
#define PLURIA_VERSION_PATCH 0
#define PLURIA_VERSION "0.1.0"
