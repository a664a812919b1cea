# How everything is compiled. Flags live on one interface target, tocsin_options, that every target of ours
# links privately; nothing is set globally but the language level.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

option(TOCSIN_BUILD_TESTS "Build the tests" ON)
option(TOCSIN_BUILD_FUZZ "Build the fuzz targets (clang only)" OFF)
option(TOCSIN_WERROR "Treat warnings as errors" ON)
option(TOCSIN_PRECOMPILE "Precompile the gRPC and Protobuf headers" ON)
set(TOCSIN_SANITIZE "" CACHE STRING "Comma separated list given to -fsanitize")

add_library(tocsin_options INTERFACE)
target_compile_options(tocsin_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast
  -fno-omit-frame-pointer
  $<$<BOOL:${TOCSIN_WERROR}>:-Werror>
  # The annotations of lib/base/mutex.h are checked where the compiler can.
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>
  # Protobuf 3.21's generated inline code trips gcc 12's flow analysis when inlined into ours.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds -Wno-stringop-overflow -Wno-restrict>)
target_compile_definitions(tocsin_options INTERFACE _GLIBCXX_ASSERTIONS)
target_include_directories(tocsin_options INTERFACE "${CMAKE_SOURCE_DIR}")

if(TOCSIN_SANITIZE)
  target_compile_options(tocsin_options INTERFACE -fsanitize=${TOCSIN_SANITIZE} -fno-sanitize-recover=all
    # gcc 12 sees uninitialized members in std::regex once the sanitizers have split its code.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  if(TOCSIN_SANITIZE STREQUAL "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # gcc warns that its thread sanitizer does not see fences. The only ones are in Boost.Asio, around handlers, whose
    # queue has a mutex as well.
    target_compile_options(tocsin_options INTERFACE -Wno-tsan)
  endif()
  if(TOCSIN_SANITIZE STREQUAL "thread")
    # Protobuf's map fields have two more members where this is defined, which libprotobuf, built without the sanitizer,
    # does not know of.
    target_compile_options(tocsin_options INTERFACE -U__SANITIZE_THREAD__)
    add_library(tocsin_thread_sanitizer STATIC "${CMAKE_SOURCE_DIR}/cmake/thread_sanitizer.cc")
    target_link_libraries(tocsin_thread_sanitizer PUBLIC absl::status absl::synchronization ${CMAKE_DL_LIBS})
    target_link_libraries(tocsin_options INTERFACE "$<LINK_LIBRARY:WHOLE_ARCHIVE,tocsin_thread_sanitizer>")
  endif()
  target_link_options(tocsin_options INTERFACE -fsanitize=${TOCSIN_SANITIZE})
endif()

find_program(TOCSIN_MOLD mold)
if(TOCSIN_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

find_program(TOCSIN_CCACHE ccache)
if(TOCSIN_CCACHE)
  # base_dir lets several checkouts share one cache; the sloppiness is what ccache asks for precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    ${TOCSIN_CCACHE})
endif()
