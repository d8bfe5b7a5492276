# SPDX-License-Identifier: MIT
# cmake -D BUILD=<build> -D FOLDER=<to write> -D CONSUMER=<project> -D GENERATOR= -D COMPILER= -D VERSION= -P install.cmake
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGV} OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGV}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${FOLDER}/prefix ${FOLDER}/build)
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${FOLDER}/prefix)
run(${CMAKE_COMMAND} -S ${CONSUMER} -B ${FOLDER}/build -G ${GENERATOR} -D CMAKE_CXX_COMPILER=${COMPILER} -D
    CMAKE_PREFIX_PATH=${FOLDER}/prefix)
run(${CMAKE_COMMAND} --build ${FOLDER}/build)
run(${FOLDER}/build/consumer)
if(NOT output STREQUAL "pluria ${VERSION}\n")
  message(FATAL_ERROR "the consumer: expected \"pluria ${VERSION}\", found \"${output}\"")
endif()
