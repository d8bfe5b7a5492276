# SPDX-License-Identifier: MIT
# Finds what the headers include. Used by the build and, installed, by the package config.
include(CMakeFindDependencyMacro)

# Asking for 3.4 would refuse Eigen 5, whose version file is not compatible downwards: check it here instead.
find_dependency(Eigen3)
if(Eigen3_VERSION VERSION_LESS 3.4)
  message(FATAL_ERROR "pluria needs Eigen 3.4 or newer, found ${Eigen3_VERSION} in ${Eigen3_DIR}")
endif()

find_dependency(xsimd)
if(xsimd_VERSION VERSION_LESS 8.1)
  message(FATAL_ERROR "pluria needs xsimd 8.1 or newer, found ${xsimd_VERSION} in ${xsimd_DIR}")
endif()
# Debian 12's xsimd links "xtl", a header-only package that it neither finds nor needs, so that -lxtl would fail.
get_target_property(xsimd_libraries xsimd INTERFACE_LINK_LIBRARIES)
if("xtl" IN_LIST xsimd_libraries AND NOT TARGET xtl)
  list(REMOVE_ITEM xsimd_libraries xtl)
  set_target_properties(xsimd PROPERTIES INTERFACE_LINK_LIBRARIES "${xsimd_libraries}")
endif()
unset(xsimd_libraries)

find_dependency(nlohmann_json)
find_dependency(ZLIB)

# pluria::onednn, where oneDNN is found: programs that link it, beside pluria::pluria, leave the int8 products of batches
# to it. It is never needed. Its own package config ends the configuration where OpenCL's headers are missing, which it
# wants for other devices than this one.
find_path(PLURIA_ONEDNN_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
find_library(PLURIA_ONEDNN_LIBRARY dnnl)
mark_as_advanced(PLURIA_ONEDNN_INCLUDE_DIR PLURIA_ONEDNN_LIBRARY)
set(PLURIA_ONEDNN_FOUND OFF)
if(PLURIA_ONEDNN_INCLUDE_DIR AND PLURIA_ONEDNN_LIBRARY)
  set(PLURIA_ONEDNN_FOUND ON)
  if(NOT TARGET pluria::onednn)
    add_library(pluria::onednn INTERFACE IMPORTED)
    target_include_directories(pluria::onednn INTERFACE ${PLURIA_ONEDNN_INCLUDE_DIR})
    target_link_libraries(pluria::onednn INTERFACE ${PLURIA_ONEDNN_LIBRARY})
    target_compile_definitions(pluria::onednn INTERFACE PLURIA_WITH_ONEDNN)
  endif()
endif()
