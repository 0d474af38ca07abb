# LLVM, MLIR and lld as static archives listed by hand.
#
# The exported MLIR targets link libLLVM.so; a relocatable `pare` must not need
# it. lld sees each archive once and `--gc-sections` keeps what is used.
find_package(MLIR REQUIRED CONFIG)
find_package(LLD REQUIRED CONFIG)
if(NOT LLVM_VERSION_MAJOR EQUAL 22)
  message(FATAL_ERROR "pare needs LLVM 22, found ${LLVM_PACKAGE_VERSION}: run tools/setup")
endif()
list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
include(TableGen)
include(AddLLVM)
include(AddMLIR)

get_filename_component(PARE_LLVM_LIBDIR "${LLVM_LIBRARY_DIR}" ABSOLUTE)
file(GLOB PARE_MLIR_ARCHIVES "${PARE_LLVM_LIBDIR}/libMLIR*.a")
list(FILTER PARE_MLIR_ARCHIVES EXCLUDE REGEX "(Test|CAPI|RegisterAll|MLIRMlirOptMain|ExecutionEngine)")
file(GLOB PARE_LLVM_ARCHIVES "${PARE_LLVM_LIBDIR}/libLLVM*.a")
list(FILTER PARE_LLVM_ARCHIVES EXCLUDE REGEX "(BOLT|Exegesis|Polly|Fuzz)")
file(GLOB PARE_LLD_ARCHIVES "${PARE_LLVM_LIBDIR}/liblldELF.a" "${PARE_LLVM_LIBDIR}/liblldCommon.a")

# Headers only: for libraries that make or read IR.
add_library(pare_llvm_headers INTERFACE)
target_include_directories(pare_llvm_headers SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS} ${LLD_INCLUDE_DIRS})
target_compile_definitions(pare_llvm_headers INTERFACE ${LLVM_DEFINITIONS_LIST})

# Static, so that an installed `pare` needs the C library alone.
find_library(PARE_ZLIB libz.a REQUIRED)
find_library(PARE_ZSTD libzstd.a REQUIRED)

# Everything: for executables.
add_library(pare_llvm INTERFACE)
target_link_libraries(pare_llvm INTERFACE pare_llvm_headers
  -Wl,--start-group ${PARE_MLIR_ARCHIVES} ${PARE_LLD_ARCHIVES} ${PARE_LLVM_ARCHIVES} -Wl,--end-group
  ${PARE_ZLIB} ${PARE_ZSTD} pthread dl m)
target_link_options(pare_llvm INTERFACE -fuse-ld=lld -Wl,--gc-sections)
