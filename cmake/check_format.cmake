# SPDX-License-Identifier: MIT
# cmake -D CLANG_FORMAT=<program> -D ROOT=<repository> -P check_format.cmake
# Fails, with file and line, where a C++ file is not formatted as .clang-format says.
cmake_minimum_required(VERSION 3.25)

if(NOT CLANG_FORMAT)
  message("skipped: clang-format is not installed")
  return()
endif()
execute_process(COMMAND ${CLANG_FORMAT} --version OUTPUT_VARIABLE version COMMAND_ERROR_IS_FATAL ANY)
if(NOT version MATCHES "version 14\\.")
  message("skipped: clang-format 14 is not installed, found ${version}")
  return()
endif()

set(files "")
foreach(folder include tests bench examples)
  file(GLOB_RECURSE found ${ROOT}/${folder}/*.hpp ${ROOT}/${folder}/*.cpp)
  list(APPEND files ${found})
endforeach()
execute_process(COMMAND ${CLANG_FORMAT} --style=file --dry-run --Werror ${files} COMMAND_ERROR_IS_FATAL ANY)
