"""lit configuration: `RUN: pare-opt %s … | FileCheck %s` over .mlir files."""

import os

import lit.formats

config.name = "pare"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.test_source_root = os.path.dirname(__file__)
config.environment["PATH"] = os.pathsep.join(
    [config.pare_tools_dir, config.llvm_tools_dir, os.environ["PATH"]]
)
for option in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
    if option in os.environ:
        config.environment[option] = os.environ[option]
