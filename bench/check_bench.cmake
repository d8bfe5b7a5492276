# SPDX-License-Identifier: MIT
# cmake -D BENCH=<bench_sample> -D REPORT=<report_sample> -D FOLDER=<scratch> -P check_bench.cmake
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE ${FOLDER})
file(MAKE_DIRECTORY ${FOLDER})
execute_process(
  COMMAND ${BENCH} --benchmark_filter=64Ki --benchmark_min_time=0.001 --benchmark_out=${FOLDER}/sample.json
          --benchmark_out_format=json
  OUTPUT_QUIET ERROR_QUIET COMMAND_ERROR_IS_FATAL ANY
)
execute_process(COMMAND ${REPORT} ${FOLDER}/sample.json OUTPUT_VARIABLE report COMMAND_ERROR_IS_FATAL ANY)
foreach(
  expected
  "| BSR INT-4, f32, S=1, Threefry-13 | [0-9.e+-]+ \\([0-9.e+-]+ GB/s\\) |"
  "| Eigen expression with Random, f32 | [0-9.e+-]+ \\([0-9.e+-]+ GB/s\\) |"
  "TARGET INT-4-13-rounds/best-RTN-to-int8/64Ki [0-9.e+-]+ >=0.3 (ok|short)\n"
  "TARGET two-threads/one/64Ki [0-9.e+-]+ >=1.7 (ok|short)\n"
)
  string(REPLACE "|" "\\|" pattern "${expected}")
  string(REPLACE "(ok\\|short)" "(ok|short)" pattern "${pattern}")
  if(NOT report MATCHES "${pattern}")
    message(FATAL_ERROR "expected a line like ${expected}, found:\n${report}")
  endif()
endforeach()
