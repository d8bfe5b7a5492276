# SPDX-License-Identifier: MIT
# cmake -D SAMPLE=<bench_sample> -D MATVEC=<bench_matvec> -D MATMUL=<bench_matmul> -D DECODE=<bench_decode>
#       -D REPORT=<report> -D FOLDER=<scratch> -P check_bench.cmake
# Runs the smallest size of every benchmark and looks for lines in what is reported of it.
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE ${FOLDER})
file(MAKE_DIRECTORY ${FOLDER})

set(number "[0-9.e+-]+")

# In the lines that are expected, <N> stands for a number, <ok> for ok or short.
function(check kind program filter)
  execute_process(
    COMMAND ${program} --benchmark_filter=${filter} --benchmark_min_time=0.001 --benchmark_out=${FOLDER}/${kind}.json
            --benchmark_out_format=json
    OUTPUT_QUIET ERROR_QUIET COMMAND_ERROR_IS_FATAL ANY
  )
  execute_process(
    COMMAND ${REPORT} ${kind} ${FOLDER}/${kind}.json OUTPUT_VARIABLE report COMMAND_ERROR_IS_FATAL ANY
  )
  foreach(expected IN LISTS ARGN)
    string(REGEX REPLACE "([][|()+.*])" "\\\\\\1" pattern "${expected}")
    string(REPLACE "<N>" "${number}" pattern "${pattern}")
    string(REPLACE "<ok>" "(ok|short)" pattern "${pattern}")
    if(NOT report MATCHES "${pattern}")
      message(FATAL_ERROR "expected a line like ${expected}, found:\n${report}")
    endif()
  endforeach()
endfunction()

check(
  sample
  ${SAMPLE}
  64Ki
  "| BSR INT-4, f32, S=1, Threefry-13 | <N> (<N> GB/s) |"
  "| Eigen expression with Random, f32 | <N> (<N> GB/s) |"
  "TARGET INT-4-13-rounds/best-RTN-to-int8/64Ki <N> >=0.3 <ok>\n"
  "TARGET two-threads/one/64Ki <N> >=1.7 <ok>\n"
)
check(
  matvec
  ${MATVEC}
  256x1024
  "| Eigen float | <N> (<N>, <N> GB/s) |"
  "| shared floor INT-4, channel, int8, S=10 | <N> (<N>, <N> GB/s) |"
  "| 256x1024, of one Eigen float product | S=1 | S=4 | S=10 | S=16 |"
  "| fixed point INT-4.4, group:32, float32 | <N> | <N> | <N> | <N> |"
)
check(
  matmul
  ${MATMUL}
  256x1024
  "| Eigen float | <N> (<N>, <N> GFLOP/s) |"
  "| shared floor INT-4, int8, S=10 | <N> (<N>, <N> GFLOP/s) |"
)

check(
  decode
  ${DECODE}
  "2.million"
  "| bfloat16 | <N> (1.00) |"
  "| shared floor INT-4, groups of 32, S=8 | <N> (<N>) |"
  "| shared floor INT-4, groups of 32, S=8 | <N> % |"
)

# The picture of quality against cost, of made figures: times of products from one file, NLL and bytes from another.
set(rates "")
foreach(rate "Eigen float" "bfloat16" "packed INT-4, channel, int8, S=1" "shared floor INT-4, channel, int8, S=2")
  string(APPEND rates
         "{\"run_name\": \"rate/${rate}/4096x4096\", \"run_type\": \"iteration\", \"repetitions\": 1, "
         "\"family_index\": 0, \"seconds\": 0.0025},"
  )
endforeach()
string(REGEX REPLACE ",$" "" rates "${rates}")
file(WRITE ${FOLDER}/times.json "{\"benchmarks\": [${rates}]}")
set(rows "")
foreach(row "bfloat16|rtn|1" "INT-4|rtn|1" "INT-4|bsr|1" "INT-4|bsr|2")
  string(REPLACE "|" ";" row "${row}")
  list(GET row 0 system)
  list(GET row 1 method)
  list(GET row 2 members)
  string(APPEND rows "{\"system\": \"${system}\", \"method\": \"${method}\", \"members\": ${members}, "
                     "\"total_bytes\": 1048576, \"nll\": 0.25, \"calibrated_nll\": 0.2},"
  )
endforeach()
string(REGEX REPLACE ",$" "" rows "${rows}")
file(WRITE ${FOLDER}/quality.json
     "{\"parameters\": 524288, \"full_precision\": {\"nll\": 0.3}, "
     "\"full_precision_calibrated\": {\"nll\": 0.1}, \"rows\": [${rows}]}"
)
execute_process(
  COMMAND ${REPORT} quality ${FOLDER}/times.json --evaluation ${FOLDER}/quality.json OUTPUT_VARIABLE quality
          COMMAND_ERROR_IS_FATAL ANY
)
foreach(expected "| float | 2.5 | 2 | 0.3000 | 0.1000 |" "| bfloat16 | 2.5 | 1 | 0.2500 | 0.2000 |"
                 "| 2 members INT-4 | 2.5 | 1 | 0.2500 | 0.2000 |"
)
  string(FIND "${quality}" "${expected}" place)
  if(place EQUAL -1)
    message(FATAL_ERROR "expected a line like ${expected}, found:\n${quality}")
  endif()
endforeach()

# The same of decoding: figures of evaluate_llama, two files; what was not timed has an empty place.
set(rates "")
foreach(rate "bfloat16" "INT-8 to nearest, channel" "packed INT-4, channel, S=1" "shared floor INT-4, groups of 32, S=8")
  string(APPEND rates
         "{\"run_name\": \"rate/${rate}/1.1 billion, context 128\", \"run_type\": \"iteration\", \"repetitions\": 1, "
         "\"family_index\": 0, \"seconds\": 0.25},"
  )
endforeach()
string(REGEX REPLACE ",$" "" rates "${rates}")
file(WRITE ${FOLDER}/steps.json "{\"benchmarks\": [${rates}]}")
foreach(granularity channel group:32)
  set(rows "")
  foreach(row "8|rtn|1" "5|rtn|1" "4|rtn|1" "4|bsr|1" "4|bsr|8")
    string(REPLACE "|" ";" row "${row}")
    list(GET row 0 bits)
    list(GET row 1 method)
    list(GET row 2 members)
    string(
      APPEND
      rows
      "{\"granularity\": \"${granularity}\", \"bits\": ${bits}, \"method\": \"${method}\", \"members\": ${members}, "
      "\"bits_per_weight\": 12.5, \"nll\": 0.25, \"calibrated_nll\": 0.2},"
    )
  endforeach()
  string(REGEX REPLACE ",$" "" rows "${rows}")
  string(REPLACE ":" "-" file ${granularity})
  file(WRITE ${FOLDER}/${file}.json "{\"full_precision\": {\"nll\": 0.3}, "
                                    "\"full_precision_calibrated\": {\"nll\": 0.1}, \"rows\": [${rows}]}"
  )
endforeach()
execute_process(
  COMMAND ${REPORT} decode_quality ${FOLDER}/steps.json --evaluation ${FOLDER}/channel.json ${FOLDER}/group-32.json
  OUTPUT_VARIABLE quality COMMAND_ERROR_IS_FATAL ANY
)
foreach(expected "| 16 bits | 250 | 16 | 0.3000 | 0.1000 |" "| INT-8 | 250 | 12.5 |" "| INT-5 | | 12.5 |"
                 "| INT-5 (32) | | 12.5 |" "| 8 members INT-4, groups of 32 | 250 | 12.5 | 0.2500 | 0.2000 |"
)
  string(FIND "${quality}" "${expected}" place)
  if(place EQUAL -1)
    message(FATAL_ERROR "expected a line like ${expected}, found:\n${quality}")
  endif()
endforeach()
