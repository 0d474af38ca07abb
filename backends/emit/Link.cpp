//===- Link.cpp - Linking in process --------------------------------------===//
#include "backends/emit/Link.h"
#include "lld/Common/Driver.h"
#include "llvm/ObjCopy/CommonConfig.h"
#include "llvm/ObjCopy/ConfigManager.h"
#include "llvm/ObjCopy/ELF/ELFObjcopy.h"
#include "llvm/Object/ArchiveWriter.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Plugins/PassPlugin.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Triple.h"
#include <cinttypes>

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

/// Refuses a link that the disk has no room for: lld writes through a memory
/// map, where a full disk is a fatal signal.
static Error checkSpace(ArrayRef<std::string> args, StringRef output) {
  uint64_t needed = 1 << 20; // the runtime and the file's own tables
  for (const std::string &arg : args) {
    uint64_t size = 0;
    if (StringRef(arg).ends_with(".o") && !sys::fs::file_size(arg, size))
      needed += size;
  }
  StringRef folder = sys::path::parent_path(output);
  ErrorOr<sys::fs::space_info> space =
      sys::fs::disk_space(folder.empty() ? "." : folder);
  if (!space || space->available >= needed)
    return Error::success();
  return createStringError(std::errc::no_space_on_device,
                           "no space left in '%s' for a link of %" PRIu64
                           " kB: free some, or name another place with -o",
                           folder.str().c_str(), needed / 1000);
}

/// The graph is text of many repetitions, which tools read compressed too.
constexpr const char *kCompressGraph = "--compress-sections=.pare.graph=zlib:9";

/// Runs lld; an error has its first line.
static Error link(std::vector<std::string> args, StringRef output) {
  if (Error error = checkSpace(args, output))
    return error;
  args.insert(args.begin(),
              {"ld.lld", "--build-id=none", "-z", "noexecstack", "--threads=1",
               kCompressGraph, "-o", output.str()});
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

static void append(std::vector<std::string> &args, ArrayRef<std::string> files,
                   StringRef folder, ArrayRef<const char *> archives) {
  args.insert(args.end(), files.begin(), files.end());
  for (const char *archive : archives)
    args.push_back((folder + "/" + archive).str());
}

static void appendModules(std::vector<std::string> &args,
                          ArrayRef<std::string> modules) {
  for (const std::string &module : modules)
    args.insert(args.end(), {"-u", module});
}

Error linkExecutable(StringRef triple, ArrayRef<std::string> objects,
                     ArrayRef<std::string> modules, StringRef output) {
  Expected<std::string> folder = findRuntime(triple);
  if (!folder)
    return folder.takeError();
  std::vector<std::string> args = {"-static", "--gc-sections", "-O1", "-s"};
  appendModules(args, modules);
  append(args, objects, *folder, {"libpare_rt.a", "libpare_c.a", "libgcc.a"});
  return link(std::move(args), output);
}

Expected<std::vector<std::string>> findOneDnn(StringRef triple) {
  Expected<std::string> folder = findRuntime(triple);
  if (!folder)
    return folder.takeError();
  if (!sys::fs::exists(*folder + "/libpare_onednn.a"))
    return createStringError(
        "--kernels=onednn: this build of pare has no oneDNN for '" + triple +
        "': install oneDNN 3 (tools/setup) and build again");
  return std::vector<std::string>{*folder + "/libdnnl.so.3",
                                  *folder + "/libgomp.so.1"};
}

Error linkWithOneDnn(StringRef triple, ArrayRef<std::string> objects,
                     ArrayRef<std::string> modules,
                     ArrayRef<std::string> libraries, StringRef output) {
  Expected<std::string> folder = findRuntime(triple);
  if (!folder)
    return folder.takeError();
  // DT_RPATH and not DT_RUNPATH: libdnnl.so needs its own libraries from there.
  std::vector<std::string> args = {
      "-no-pie",
      "--gc-sections",
      "-O1",
      "-s",
      "-rpath=$ORIGIN",
      "--disable-new-dtags",
      "--allow-shlib-undefined",
      "--dynamic-linker=/lib64/ld-linux-x86-64.so.2"};
  appendModules(args, modules);
  append(args, {}, *folder, {"crt1.o", "crti.o"});
  append(args, objects, *folder, {"libpare_rt.a", "libpare_onednn.a"});
  append(args, libraries, *folder,
         {"libc.so.6", "libpare_c.a", "libgcc.a", "crtn.o"});
  return link(std::move(args), output);
}

Error linkShared(StringRef triple, ArrayRef<std::string> objects,
                 ArrayRef<std::string> modules, StringRef soname,
                 StringRef output) {
  Expected<std::string> folder = findRuntime(triple);
  if (!folder)
    return folder.takeError();
  std::vector<std::string> args = {"-shared",
                                   "--gc-sections",
                                   "-O1",
                                   "-s",
                                   "-z",
                                   "defs",
                                   "--entry=0", // no `main` is wanted
                                   "--exclude-libs=ALL",
                                   "-soname=" + soname.str()};
  appendModules(args, modules);
  // Of libpare_c.a, only the mathematics that libc leaves to libm.
  append(args, objects, *folder,
         {"libpare_rt.a", "libc.so.6", "libpare_c.a", "libgcc.a"});
  return link(std::move(args), output);
}

/// Makes all symbols that `object` defines local but for `exported`.
static Error hideSymbols(StringRef object, ArrayRef<std::string> exported,
                         StringRef output) {
  auto file = object::ObjectFile::createObjectFile(object);
  if (!file)
    return file.takeError();
  objcopy::ConfigManager config;
  config.Common.InputFilename = object;
  config.Common.OutputFilename = output;
  for (const std::string &symbol : exported)
    if (Error error = config.Common.SymbolsToKeepGlobal.addMatcher(
            objcopy::NameOrPattern::create(symbol, objcopy::MatchStyle::Literal,
                                           [](Error e) { return e; })))
      return error;
  std::error_code code;
  raw_fd_ostream stream(output, code);
  if (!code) {
    if (Error error = objcopy::elf::executeObjcopyOnBinary(
            config.Common, config.ELF,
            *cast<object::ELFObjectFileBase>(file->getBinary()), stream))
      return error;
    stream.flush();
    code = stream.error();
    stream.clear_error();
  }
  if (code)
    return createStringError(code, "cannot write '%s': %s",
                             output.str().c_str(), code.message().c_str());
  return Error::success();
}

Error makeArchive(StringRef triple, StringRef code, StringRef weights,
                  ArrayRef<std::string> modules, ArrayRef<std::string> exported,
                  StringRef prefix, StringRef output) {
  Expected<std::string> folder = findRuntime(triple);
  if (!folder)
    return folder.takeError();
  std::string merged = (output + ".merged.o").str(),
              hidden = (output + ".hidden.o").str();
  FileRemover removeMerged(merged), removeHidden(hidden);
  std::vector<std::string> args = {"-r"};
  appendModules(args, modules);
  append(args, {code.str()}, *folder, {"libpare_rt.a"});
  if (Error error = link(std::move(args), merged))
    return error;
  if (Error error = hideSymbols(merged, exported, hidden))
    return error;

  std::vector<NewArchiveMember> members;
  StringRef paths[] = {hidden, weights};
  std::string names[] = {(prefix + ".o").str(), (prefix + "_weights.o").str()};
  for (auto [path, name] : zip_equal(paths, names)) {
    auto member = NewArchiveMember::getFile(path, /*Deterministic=*/true);
    if (!member)
      return member.takeError();
    member->MemberName = name;
    members.push_back(std::move(*member));
  }
  return writeArchive(output, members, SymtabWritingMode::NormalSymtab,
                      object::Archive::K_GNU, /*Deterministic=*/true,
                      /*Thin=*/false);
}

} // namespace pare::emit
