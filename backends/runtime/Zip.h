//===- Zip.h - Zip archives, as .npz files are ------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_ZIP_H
#define PARE_BACKENDS_RUNTIME_ZIP_H

#include "backends/runtime/Output.h"

namespace pare::rt {

/// One member of an archive: its data lies in the archive's bytes.
struct ZipEntry {
  Str name, data;
  uint64_t size; ///< when unpacked
  uint32_t crc;
  uint16_t method; ///< 0 stored, 8 deflated
};

/// Reads the members of the archive `file` one after the other, zip64 too.
class ZipReader {
public:
  /// False with the cause in `error`, without a file name.
  bool open(Str file, Message &error);
  /// Members that next() has yet to give.
  uint64_t remaining() const { return left; }
  /// The next member; false with `error` set if it is damaged.
  bool next(ZipEntry &entry, Message &error);

private:
  Str file, directory;
  uint64_t left = 0;
};

/// Unpacks a member and checks its CRC. False with `error` set.
bool unpack(const ZipEntry &entry, Bytes &out, Message &error);

/// Writes an archive of stored members with fixed time stamps, so that equal
/// arrays make equal files. Members and archive are below 4 GiB.
class ZipWriter {
public:
  explicit ZipWriter(OutputFile &file) : file(file) {}

  /// Adds NAME.npy. False with `error` set.
  bool add(Str name, const PareTensor &tensor, Message &error);
  /// Writes the directory; the file is then whole.
  bool finish(Message &error);

private:
  OutputFile &file;
  Bytes directory;
  uint64_t offset = 0;
  uint32_t count = 0;
};

} // namespace pare::rt

#endif
