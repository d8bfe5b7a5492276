# SPDX-License-Identifier: MIT
# How our own programs are compiled: tests, benchmarks and examples link `pluria_own`. Nothing here is installed or reaches
# users. `pluria_own_any_isa` is the same without the ISA, for the programs that choose their own.

set(native_arch "")
if(PROJECT_IS_TOP_LEVEL)
  set(native_arch native)
  # Overridden by: cmake --compile-no-warning-as-error
  set(CMAKE_COMPILE_WARNING_AS_ERROR ON)
endif()
set(PLURIA_ARCH "${native_arch}" CACHE STRING "-march of our own targets; empty for the compiler's default")
set(PLURIA_SANITIZE "" CACHE STRING "-fsanitize of our own targets: address,undefined")
option(PLURIA_SMOKE "Programs are compiled at -O1, benchmarks in part, too: they run, and their time means nothing" OFF)
mark_as_advanced(PLURIA_ARCH PLURIA_SANITIZE PLURIA_SMOKE)

get_property(is_multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(PROJECT_IS_TOP_LEVEL AND NOT is_multi_config AND NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_CXX_EXTENSIONS OFF)

find_package(OpenMP COMPONENTS CXX)

add_library(pluria_own_any_isa INTERFACE)
target_link_libraries(pluria_own_any_isa INTERFACE pluria::pluria)
target_compile_options(pluria_own_any_isa INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms in its own headers: AVX-512 intrinsics that start from an undefined register (GCC bug 105593), and the
  # concatenation of strings (105329, 105651). Newer compilers, clang and the sanitizers keep watch.
  target_compile_options(
    pluria_own_any_isa INTERFACE -Wno-uninitialized -Wno-maybe-uninitialized -Wno-array-bounds -Wno-restrict
                                 -Wno-stringop-overflow -Wno-stringop-overread
  )
endif()
if(PLURIA_SANITIZE)
  target_compile_options(
    pluria_own_any_isa INTERFACE -fsanitize=${PLURIA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
  )
  target_link_options(pluria_own_any_isa INTERFACE -fsanitize=${PLURIA_SANITIZE})
  if(PLURIA_SANITIZE MATCHES address AND PLURIA_SANITIZE MATCHES undefined)
    # What is read or written through a null pointer or behind an object AddressSanitizer sees, and its shadow has no place
    # for what a pointer wraps around to. These four take a compiler half of its time: pointers are watched where they
    # come from files and from bytes, in the targets with the property PLURIA_WATCHES_POINTERS.
    set(watched $<BOOL:$<TARGET_PROPERTY:PLURIA_WATCHES_POINTERS>>)
    target_compile_options(
      pluria_own_any_isa INTERFACE -fno-sanitize=null,object-size
                                   $<$<NOT:${watched}>:-fno-sanitize=pointer-overflow,alignment>
    )
  endif()
endif()
# AddressSanitizer's checks as calls: programs run twice as long, and take clang a quarter less to compile.
set(asan_calls "")
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang" AND PLURIA_SANITIZE MATCHES address)
  set(asan_calls -fsanitize-address-outline-instrumentation)
endif()
if(PLURIA_WITH_ONEDNN)
  if(NOT TARGET pluria::onednn)
    message(FATAL_ERROR "PLURIA_WITH_ONEDNN: oneDNN (libdnnl-dev) was not found")
  endif()
  target_link_libraries(pluria_own_any_isa INTERFACE pluria::onednn)
endif()
if(OpenMP_CXX_FOUND)
  target_link_libraries(pluria_own_any_isa INTERFACE OpenMP::OpenMP_CXX)
endif()

add_library(pluria_own INTERFACE)
target_link_libraries(pluria_own INTERFACE pluria_own_any_isa)
if(PLURIA_ARCH)
  target_compile_options(pluria_own INTERFACE -march=${PLURIA_ARCH})
endif()

# What runs for seconds is worth no more of a compiler's time, which at -O3 is twice as much. g++ contracts products and
# sums with its expensive optimizations on; without its analysis of pointers and with a gigabyte before it collects
# garbage it takes a quarter less.
set(quick_to_compile -O1)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND quick_to_compile -fexpensive-optimizations -fno-tree-pta -fno-tree-dse --param=ggc-min-expand=200
       --param=ggc-min-heapsize=1000000
  )
endif()
list(TRANSFORM quick_to_compile REPLACE "(.+)" "$<$<CONFIG:Release>:\\1>" OUTPUT_VARIABLE quick_in_release)
