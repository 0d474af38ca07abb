#include "backends/runtime/Npy.h"

using namespace pare::rt;

namespace {

/// What NumPy calls each PareDType; bfloat16 is the bare two-byte type that
/// ml_dtypes writes.
const char *const kDescr[] = {"<f4", "<f2", "<V2", "<f8", "|i1", "|u1", "<i2",
                              "<u2", "<i4", "<u4", "<i8", "<u8", "|b1"};

/// The header's Python dictionary, read as a sequence of tokens.
class Header {
public:
  explicit Header(Str text) : text(text) {}

  bool take(char c) {
    skip();
    if (!text.size || text.data[0] != c)
      return false;
    text = text.drop(1);
    return true;
  }
  bool string(Str &value) {
    skip();
    if (!text.size || (text.data[0] != '\'' && text.data[0] != '"'))
      return false;
    char quote = text.data[0];
    text = text.drop(1);
    value = Str(text.data, text.find(quote));
    if (value.size == text.size)
      return false;
    text = text.drop(value.size + 1);
    return true;
  }
  bool word(Str &value) {
    skip();
    uint64_t n = 0;
    auto inWord = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
             (c >= 'a' && c <= 'z') || c == '-';
    };
    while (n < text.size && inWord(text.data[n]))
      ++n;
    value = Str(text.data, n);
    text = text.drop(n);
    return n != 0;
  }
  bool shape(PareTensor &tensor) {
    if (!take('('))
      return false;
    tensor.rank = 0;
    while (!take(')')) {
      Str number;
      int64_t value;
      if (!word(number))
        return false;
      if (number.endsWith("L")) // Python 2
        --number.size;
      if (!parseInt(number, value) || value < 0 || tensor.rank == PARE_MAX_RANK)
        return false;
      tensor.dims[tensor.rank++] = value;
      if (!take(',')) {
        if (!take(')'))
          return false;
        break;
      }
    }
    return true;
  }

private:
  void skip() {
    while (text.size && (text.data[0] == ' ' || text.data[0] == '\n'))
      text = text.drop(1);
  }
  Str text;
};

bool findDType(Str descr, uint32_t &dtype) {
  if (descr.size != 3)
    return false;
  for (uint32_t i = 0; i < sizeof(kDescr) / sizeof(kDescr[0]); ++i) {
    bool oneByte = pare_dtype_bytes(i) == 1;
    if (descr.drop(1) == Str(kDescr[i]).drop(1) &&
        (descr.data[0] == kDescr[i][0] || descr.data[0] == '=' || oneByte ||
         (i == PARE_BF16 && descr.data[0] == '|'))) {
      dtype = i;
      return true;
    }
  }
  return false;
}

} // namespace

bool pare::rt::parseNpy(Str file, NpyView &view, Message &error) {
  auto fail = [&](const char *cause) {
    error.start().put(cause);
    return false;
  };
  if (!file.startsWith(Str("\x93NUMPY", 6)))
    return fail("is not a .npy file");
  if (file.size < 10)
    return fail("is cut short in its header");
  auto byte = [&](uint64_t i) { return uint64_t(uint8_t(file.data[i])); };
  uint64_t version = byte(6);
  if (version < 1 || version > 3)
    return fail("has an unknown .npy format version");
  uint64_t start = version == 1 ? 10 : 12;
  if (file.size < start)
    return fail("is cut short in its header");
  uint64_t length = byte(8) | byte(9) << 8;
  if (version > 1)
    length |= byte(10) << 16 | byte(11) << 24;
  if (length > file.size - start)
    return fail("is cut short in its header");

  Header header(Str(file.data + start, length));
  PareTensor &tensor = view.tensor;
  tensor = PareTensor();
  view.fortran = false;
  bool hasDescr = false, hasShape = false;
  if (!header.take('{'))
    return fail("has a damaged .npy header");
  while (!header.take('}')) {
    Str key, value;
    if (!header.string(key) || !header.take(':'))
      return fail("has a damaged .npy header");
    if (key == "descr") {
      if (!header.string(value))
        return fail("holds structured records, not numbers");
      if (!findDType(value, tensor.dtype)) {
        error.start()
            .put("has elements of type '")
            .put(value)
            .put("', expected little-endian numbers");
        return false;
      }
      hasDescr = true;
    } else if (key == "fortran_order") {
      if (!header.word(value) || !(value == "True" || value == "False"))
        return fail("has a damaged .npy header");
      view.fortran = value == "True";
    } else if (key == "shape") {
      if (!header.shape(tensor))
        return fail("has a damaged shape, or one of more than 8 axes");
      hasShape = true;
    } else {
      return fail("has a damaged .npy header");
    }
    header.take(',');
  }
  if (!hasDescr || !hasShape)
    return fail("has a damaged .npy header");
  if (!tensorBytes(tensor.dtype, tensor.dims, tensor.rank, tensor.bytes))
    return fail("has a shape too large to hold");
  Str data = file.drop(start + length);
  if (data.size != tensor.bytes) {
    error.start()
        .put(data.size < tensor.bytes ? "is cut short: " : "is damaged: ")
        .unsignedNum(data.size)
        .put(" bytes of data, its shape needs ")
        .unsignedNum(tensor.bytes);
    return false;
  }
  tensor.data = const_cast<char *>(data.data);
  return true;
}

void pare::rt::copyNpy(const NpyView &view, void *out) {
  const PareTensor &tensor = view.tensor;
  if (!view.fortran || tensor.rank < 2 || !tensor.bytes) {
    if (tensor.bytes)
      memcpy(out, tensor.data, tensor.bytes);
    return;
  }
  uint64_t size = pare_dtype_bytes(tensor.dtype);
  uint64_t strides[PARE_MAX_RANK];
  uint64_t stride = size;
  for (uint32_t i = 0; i < tensor.rank; ++i) {
    strides[i] = stride;
    stride *= uint64_t(tensor.dims[i]);
  }
  int64_t index[PARE_MAX_RANK] = {};
  uint64_t offset = 0;
  char *to = static_cast<char *>(out);
  for (uint64_t at = 0; at < tensor.bytes; at += size) {
    memcpy(to + at, static_cast<const char *>(tensor.data) + offset, size);
    for (uint32_t axis = tensor.rank; axis-- > 0;) {
      offset += strides[axis];
      if (++index[axis] < tensor.dims[axis])
        break;
      offset -= strides[axis] * uint64_t(tensor.dims[axis]);
      index[axis] = 0;
    }
  }
}

uint64_t pare::rt::npyHeader(const PareTensor &tensor,
                             char header[kNpyHeaderBytes], uint64_t minimum) {
  Writer text(-1, header, kNpyHeaderBytes);
  text.put(Str("\x93NUMPY\x01\x00\x00\x00", 10));
  text.put("{'descr': '").put(kDescr[tensor.dtype]);
  text.put("', 'fortran_order': False, 'shape': (");
  for (uint32_t i = 0; i < tensor.rank; ++i) {
    text.num(tensor.dims[i]);
    if (i + 1 < tensor.rank)
      text.put(", ");
    else if (tensor.rank == 1)
      text.put(',');
  }
  text.put("), }");
  uint64_t length = alignUp(max(text.column() + 1, minimum), 64);
  text.pad(0, length - 1);
  header[length - 1] = '\n';
  header[8] = char((length - 10) & 255);
  header[9] = char((length - 10) >> 8);
  return length;
}
