//===- Link.cpp - Linking in process
//----------------------------------------===//
#include "backends/emit/Link.h"
#include "lld/Common/Driver.h"
#include "llvm/Plugins/PassPlugin.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Triple.h"

LLD_HAS_DRIVER(elf)

// Distributions build LLVM with Polly as a static extension; nothing here runs
// it, and its archive is not always there.
llvm::PassPluginLibraryInfo getPollyPluginInfo() { return {}; }

using namespace llvm;

namespace pare::emit {

/// The name of a triple's folder: "x86_64-linux-gnu".
static std::string folderName(StringRef triple) {
  Triple parsed(triple);
  return (Triple::getArchTypeName(parsed.getArch()) + "-linux-gnu").str();
}

Expected<std::string> findRuntime(StringRef triple) {
  // In an installed tree and in a build tree alike: bin/pare beside lib/pare.
  std::string program = sys::fs::getMainExecutable(nullptr, nullptr);
  SmallString<256> folder(
      sys::path::parent_path(sys::path::parent_path(program)));
  sys::path::append(folder, "lib", "pare", folderName(triple));
  SmallString<256> archive(folder);
  sys::path::append(archive, "libpare_rt.a");
  if (!sys::fs::exists(archive))
    return createStringError(
        std::errc::no_such_file_or_directory,
        "no runtime for target '%s': '%s' is missing; install pare with that "
        "target's cross packages (tools/setup)",
        triple.str().c_str(), archive.c_str());
  return std::string(folder);
}

Error linkExecutable(StringRef triple, ArrayRef<std::string> objects,
                     ArrayRef<std::string> modules, StringRef output) {
  Expected<std::string> folder = findRuntime(triple);
  if (!folder)
    return folder.takeError();
  std::vector<std::string> args = {
      "ld.lld", "-static",     "--gc-sections", "--build-id=none",
      "-z",     "noexecstack", "-O1",           "--threads=1",
      "-s",     "-o",          output.str()};
  for (const std::string &module : modules)
    args.insert(args.end(), {"-u", module});
  args.insert(args.end(), objects.begin(), objects.end());
  for (const char *archive : {"libpare_rt.a", "libpare_c.a", "libgcc.a"})
    args.push_back(*folder + "/" + archive);

  std::vector<const char *> argv;
  for (const std::string &arg : args)
    argv.push_back(arg.c_str());
  std::string log;
  raw_string_ostream stream(log);
  lld::Result result =
      lld::lldMain(argv, stream, stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return createStringError(std::errc::io_error, "cannot link '%s': %s",
                             output.str().c_str(),
                             StringRef(log).split('\n').first.str().c_str());
  return Error::success();
}

} // namespace pare::emit
