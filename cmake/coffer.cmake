# SPDX-License-Identifier: Apache-2.0
# How everything in this tree is compiled, and the three shapes a target can have.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

option(COFFER_WERROR "Warnings are errors (for CI and developers)" OFF)
option(COFFER_FUZZ "Build the libFuzzer targets (needs clang)" OFF)

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

add_compile_definitions(_GNU_SOURCE COFFER_VERSION="${PROJECT_VERSION}")
add_compile_options(
  -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wundef -Wvla -Wformat=2
  -Wcast-qual -Wimplicit-fallthrough -Werror=implicit-function-declaration
  -fvisibility=hidden -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
if(COFFER_WERROR)
  add_compile_options(-Werror)
endif()
add_link_options(-Wl,--as-needed)
include_directories(${CMAKE_SOURCE_DIR})

# coffer_library(NAME [folder.c ...] LINK lib...): a static library of this folder's sources but
# main.c. Without sources named, all *.c of the folder.
function(coffer_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_SOURCES)
    file(GLOB ARG_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
    list(FILTER ARG_SOURCES EXCLUDE REGEX "/main\\.c$")
  endif()
  if(ARG_SOURCES)
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC ${ARG_LINK})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE ${ARG_LINK})
  endif()
endfunction()

# coffer_program(NAME CORE): an executable of this folder's main.c over its library.
function(coffer_program name core)
  if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/main.c)
    add_executable(${name} main.c)
    target_link_libraries(${name} PRIVATE ${core})
    target_link_options(${name} PRIVATE -Wl,--gc-sections)
    install(TARGETS ${name})
  endif()
endfunction()
