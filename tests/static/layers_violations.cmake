# SPDX-License-Identifier: MIT
# cmake -D CHECK=<check_layers.cmake> -D TREE=<folder to write> -P layers_violations.cmake
# The layer check accepts a good tree and names the line of each kind of violation.
cmake_minimum_required(VERSION 3.25)

# Writes the tree, `file` with `text` added to it, and compares the check's verdict: "" for none.
function(expect verdict file text)
  file(REMOVE_RECURSE ${TREE})
  file(WRITE ${TREE}/pluria/core/error.hpp "#pragma once\n")
  file(WRITE ${TREE}/pluria/tensor/checkpoint.hpp "#pragma once\n\n#include <pluria/core/error.hpp>\n")
  file(WRITE ${TREE}/pluria/kernel/sample.hpp "#include <pluria/tensor/checkpoint.hpp>\n")
  file(WRITE ${TREE}/pluria/ensemble/scores.hpp "#pragma once\n\n#include <pluria/core/error.hpp>\n")
  file(APPEND ${TREE}/pluria/${file} "${text}")
  execute_process(
    COMMAND ${CMAKE_COMMAND} -D ROOT=${TREE} -P ${CHECK} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output
  )
  if(verdict STREQUAL "" AND result EQUAL 0)
    return()
  endif()
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  string(FIND "${output}" "${TREE}/pluria/${file}:${verdict}" place)
  if(verdict STREQUAL "" OR result EQUAL 0 OR place EQUAL -1)
    message(FATAL_ERROR "expected \"${verdict}\" for ${file}, found status ${result}: ${output}")
  endif()
endfunction()

expect("" core/bits.hpp "// [ a; list \\\n#include <vector>\n")
expect("" metrics/proper_score.hpp "#include <pluria/core/error.hpp>\n#include <Eigen/Core>\n")
expect("4: core/ may not include <pluria/ensemble/scores.hpp>" core/bits.hpp
       "// [ a; list \\\n\n\n  #  include <pluria/ensemble/scores.hpp>\n")
expect("1: number/ may not include <pluria/tensor/checkpoint.hpp>" number/concept.hpp
       "#include <pluria/tensor/checkpoint.hpp>\n")
expect("1: metrics/ may not include <pluria/tensor/checkpoint.hpp>" metrics/diversity.hpp
       "#include <pluria/tensor/checkpoint.hpp>\n")
expect("1: <pluria/core/missing.hpp> does not exist" io/npy.hpp "#include <pluria/core/missing.hpp>\n")
expect("1: utilities/ has no place among the layers" utilities/text.hpp "#pragma once\n")
expect("1: write <pluria/...> for \"error.hpp\"" core/bits.hpp "#include \"error.hpp\"\n")
# Not hot itself, but reached from a hot header.
expect("4: <nlohmann/json.hpp> is too slow to compile for <pluria/kernel/sample.hpp>" tensor/checkpoint.hpp
       "#include <nlohmann/json.hpp>\n")
file(REMOVE_RECURSE ${TREE})
