# SPDX-License-Identifier: MIT
# cmake --install gives the headers and a package: find_package(pluria), target pluria::pluria.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_DATADIR}/cmake/pluria)

install(TARGETS pluria EXPORT pluria-targets FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT pluria-targets NAMESPACE pluria:: DESTINATION ${package_dir})

configure_package_config_file(
  cmake/pluria-config.cmake.in ${PROJECT_BINARY_DIR}/pluria-config.cmake INSTALL_DESTINATION ${package_dir}
)
# Before 1.0 a minor version may change the interface. Headers are the same for every architecture.
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/pluria-config-version.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT
)
install(
  FILES ${PROJECT_BINARY_DIR}/pluria-config.cmake ${PROJECT_BINARY_DIR}/pluria-config-version.cmake
        cmake/pluria-dependencies.cmake
  DESTINATION ${package_dir}
)
