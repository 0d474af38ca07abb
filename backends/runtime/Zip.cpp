#include "backends/runtime/Zip.h"

#include "backends/runtime/Inflate.h"
#include "backends/runtime/Npy.h"

using namespace pare::rt;

namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50,
                   kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                   kLocator64 = 0x07064b50;
constexpr uint64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22,
                   kEnd64Bytes = 56, kLocatorBytes = 20;

/// The little-endian integer at `offset`; the caller has checked the bounds.
template <typename T> T field(Str bytes, uint64_t offset) {
  T value;
  memcpy(&value, bytes.data + offset, sizeof(T));
  return value;
}

/// offset + length lies within `size`.
bool fits(uint64_t offset, uint64_t length, uint64_t size) {
  return offset <= size && length <= size - offset;
}

bool damaged(Message &error, const char *what = "is a damaged zip archive") {
  error.start().put(what);
  return false;
}

/// Takes the 64-bit values that the directory entry marks as too large for 32.
bool readZip64(Str extra, uint64_t *values[3]) {
  while (extra.size >= 4) {
    uint16_t tag = field<uint16_t>(extra, 0), size = field<uint16_t>(extra, 2);
    if (size > extra.size - 4)
      return false;
    Str body(extra.data + 4, size);
    extra = extra.drop(4 + size);
    if (tag != 1)
      continue;
    for (int i = 0; i < 3; ++i) {
      if (*values[i] != 0xffffffff)
        continue;
      if (body.size < 8)
        return false;
      *values[i] = field<uint64_t>(body, 0);
      body = body.drop(8);
    }
    return true;
  }
  return *values[0] != 0xffffffff && *values[1] != 0xffffffff &&
         *values[2] != 0xffffffff;
}

} // namespace

bool ZipReader::open(Str bytes, Message &error) {
  file = bytes;
  if (file.size < kEndBytes)
    return damaged(error, "is cut short, or not a zip archive");
  uint64_t lowest = file.size > 65557 ? file.size - 65557 : 0;
  uint64_t at = file.size - kEndBytes;
  while (field<uint32_t>(file, at) != kEnd) {
    if (at == lowest)
      return damaged(error, "is cut short, or not a zip archive");
    --at;
  }
  left = field<uint16_t>(file, at + 10);
  uint64_t size = field<uint32_t>(file, at + 12);
  uint64_t offset = field<uint32_t>(file, at + 16);
  if (left == 0xffff || size == 0xffffffff || offset == 0xffffffff) {
    if (at < kLocatorBytes ||
        field<uint32_t>(file, at - kLocatorBytes) != kLocator64)
      return damaged(error);
    uint64_t end = field<uint64_t>(file, at - kLocatorBytes + 8);
    if (!fits(end, kEnd64Bytes, file.size) ||
        field<uint32_t>(file, end) != kEnd64)
      return damaged(error);
    left = field<uint64_t>(file, end + 32);
    size = field<uint64_t>(file, end + 40);
    offset = field<uint64_t>(file, end + 48);
  }
  if (!fits(offset, size, file.size))
    return damaged(error);
  directory = Str(file.data + offset, size);
  return left <= size / kCentralBytes || damaged(error);
}

bool ZipReader::next(ZipEntry &entry, Message &error) {
  if (directory.size < kCentralBytes ||
      field<uint32_t>(directory, 0) != kCentral)
    return damaged(error);
  uint16_t flags = field<uint16_t>(directory, 8);
  entry.method = field<uint16_t>(directory, 10);
  entry.crc = field<uint32_t>(directory, 16);
  uint64_t packed = field<uint32_t>(directory, 20);
  entry.size = field<uint32_t>(directory, 24);
  uint64_t nameBytes = field<uint16_t>(directory, 28);
  uint64_t extraBytes = field<uint16_t>(directory, 30);
  uint64_t commentBytes = field<uint16_t>(directory, 32);
  uint64_t local = field<uint32_t>(directory, 42);
  uint64_t total = kCentralBytes + nameBytes + extraBytes + commentBytes;
  if (total > directory.size)
    return damaged(error);
  entry.name = Str(directory.data + kCentralBytes, nameBytes);
  uint64_t *wide[3] = {&entry.size, &packed, &local};
  if (!readZip64({entry.name.data + nameBytes, extraBytes}, wide) ||
      !fits(local, kLocalBytes, file.size) ||
      field<uint32_t>(file, local) != kLocal)
    return damaged(error);
  uint64_t start = local + kLocalBytes + field<uint16_t>(file, local + 26) +
                   field<uint16_t>(file, local + 28);
  if (!fits(start, packed, file.size))
    return damaged(error);
  if (flags & 1)
    return damaged(error, "is an encrypted zip archive");
  entry.data = Str(file.data + start, packed);
  directory = directory.drop(total);
  --left;
  return true;
}

bool pare::rt::unpack(const ZipEntry &entry, Bytes &out, Message &error) {
  auto fail = [&](const char *cause) {
    error.start().put("member '").put(entry.name).put("' ").put(cause);
    return false;
  };
  if (entry.method != 0 && entry.method != 8)
    return fail("is packed with a method other than stored or deflate");
  // DEFLATE makes at most 1032 bytes of one.
  if (entry.method == 0 ? entry.size != entry.data.size
                        : entry.size / 1032 > entry.data.size)
    return fail("is damaged");
  if (!out.resize(max<uint64_t>(entry.size, 1)))
    return fail("does not fit in memory");
  out.size = entry.size;
  if (entry.method == 0)
    memcpy(out.data, entry.data.data, entry.size);
  else if (!inflate(entry.data, out.data, entry.size))
    return fail("is damaged");
  if (crc32(0, out.data, out.size) != entry.crc)
    return fail("is damaged: its checksum is wrong");
  return true;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

namespace {
/// Little-endian fields in sequence.
struct Record {
  uint8_t bytes[64];
  uint32_t size = 0;

  Record &u16(uint64_t value) { return put(value, 2); }
  Record &u32(uint64_t value) { return put(value, 4); }
  Record &put(uint64_t value, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i)
      bytes[size++] = uint8_t(value >> (8 * i));
    return *this;
  }
};
} // namespace

bool ZipWriter::add(Str name, const PareTensor &tensor, Message &error) {
  char header[kNpyHeaderBytes];
  uint64_t headerBytes = npyHeader(tensor, header);
  uint64_t size = headerBytes + tensor.bytes;
  if (tensor.bytes >= 0xfffffffe - 1024 || offset >= 0xfffffffe - size ||
      count == 0xfffe || name.size > 0xfff0)
    return damaged(error, "the output exceeds 4 GiB, the most a .npz holds");
  uint32_t crc =
      crc32(crc32(0, header, headerBytes), tensor.data, tensor.bytes);
  // 1 January 1980, the earliest that the format knows.
  auto common = [&](Record &record) {
    record.u16(20).u16(0x800).u16(0).u16(0).u16(0x21);
    record.u32(crc).u32(size).u32(size).u16(name.size + 4).u16(0);
  };
  Record local, central;
  common(local.u32(kLocal));
  common(central.u32(kCentral).u16(20));
  central.u16(0).u16(0).u16(0).u32(0).u32(offset);

  bool good = file.write(local.bytes, local.size, error) &&
              file.write(name.data, name.size, error) &&
              file.write(".npy", 4, error) &&
              file.write(header, headerBytes, error) &&
              file.write(tensor.data, tensor.bytes, error);
  if (!good)
    return false;
  if (!directory.append(central.bytes, central.size) ||
      !directory.append(name.data, name.size) || !directory.append(".npy", 4))
    return damaged(error, "out of memory");
  offset += local.size + name.size + 4 + size;
  ++count;
  return true;
}

bool ZipWriter::finish(Message &error) {
  Record end;
  end.u32(kEnd).u16(0).u16(0).u16(count).u16(count);
  end.u32(directory.size).u32(offset).u16(0);
  return file.write(directory.data, directory.size, error) &&
         file.write(end.bytes, end.size, error);
}
