//===- ImageOption.cpp - The --image option -------------------------------===//
#include "tools/ImageOption.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>

using namespace llvm;

namespace pare::tools {

namespace {
class Parser {
public:
  Parser(StringRef text, mlir::func::FuncOp entry) : text(text), entry(entry) {}
  Expected<emit::ImageInput> parse();

private:
  Error fail(const Twine &message) {
    return createStringError("--image " + text + ": " + message);
  }
  Error findInput(StringRef &rest);
  Error parseKey(StringRef key);
  Error parseSize(StringRef size);
  Error parseNumbers(StringRef key, StringRef list, std::vector<float> &values);
  Error matchShape();
  Error matchAxis(StringRef what, nn::Dim dim, uint32_t &size);

  StringRef text;
  mlir::func::FuncOp entry;
  mlir::RankedTensorType type;
  emit::ImageInput image;
  bool hasLayout = false, hasOrder = false;
};
} // namespace

Error Parser::findInput(StringRef &rest) {
  // An input's name may hold any character: the longest that fits wins.
  mlir::BlockArgument found;
  size_t length = 0;
  for (mlir::BlockArgument arg : entry.getArguments()) {
    StringRef name = nn::getValueName(arg);
    if (rest.starts_with((name + "=").str()) &&
        (!found || name.size() > length)) {
      found = arg;
      length = name.size();
    }
  }
  if (found) {
    rest = rest.drop_front(length + 1);
  } else if (entry.getNumArguments() == 1 &&
             (rest.empty() || isDigit(rest.front()) || rest.front() == ',')) {
    found = entry.getArgument(0);
  } else {
    std::string names;
    for (mlir::BlockArgument arg : entry.getArguments())
      names += (names.empty() ? "" : ", ") + nn::getValueName(arg).str();
    return fail("expected INPUT=WIDTHxHEIGHT,…; the inputs are " + names);
  }
  image.input = nn::getValueName(found).str();
  type = mlir::cast<mlir::RankedTensorType>(found.getType());
  return Error::success();
}

Error Parser::parseSize(StringRef size) {
  StringRef rest = size;
  if (rest.consumeInteger(10, image.width) || !rest.consume_front("x") ||
      rest.consumeInteger(10, image.height) || !rest.empty() ||
      image.width < 1 || image.height < 1 || image.width > 65535 ||
      image.height > 65535)
    return fail("'" + size + "' is no size: expected WIDTHxHEIGHT in pixels");
  return Error::success();
}

Error Parser::parseNumbers(StringRef key, StringRef list,
                           std::vector<float> &values) {
  SmallVector<StringRef> parts;
  list.split(parts, ':');
  values.clear();
  for (StringRef part : parts) {
    double value;
    if (part.getAsDouble(value) || !std::isfinite(value))
      return fail("'" + part + "' in " + key + " is no number");
    bool isStd = key == "std";
    if (isStd ? value <= 0 || value > 255 : value < -1 || value > 1)
      return fail(key + "=" + part +
                  (isStd ? " is not in (0, 255]" : " is not in [-1, 1]") +
                  ": it is of pixel values divided by 255");
    values.push_back(value);
  }
  return Error::success();
}

Error Parser::parseKey(StringRef item) {
  auto [key, value] = item.split('=');
  if (key == "mean" || key == "std")
    return parseNumbers(key, value, key == "mean" ? image.mean : image.std);
  if (item == "layout=nchw" || item == "layout=nhwc") {
    hasLayout = true;
    image.nchw = item == "layout=nchw";
    return Error::success();
  }
  if (item == "rgb" || item == "bgr" || item == "gray") {
    hasOrder = true;
    image.bgr = item == "bgr";
    image.channels = item == "gray" ? 1 : 3;
    return Error::success();
  }
  return fail("unknown '" + item +
              "': expected mean=M:M:M, std=S:S:S, layout=nchw|nhwc, rgb, bgr "
              "or gray");
}

Error Parser::matchAxis(StringRef what, nn::Dim dim, uint32_t &size) {
  std::optional<int64_t> fixed = nn::getConstant(dim);
  if (!fixed) {
    auto symbol = mlir::dyn_cast<mlir::AffineSymbolExpr>(dim);
    if (!size || !symbol)
      return Error::success();
    auto bounds = [&](StringRef name) {
      return entry->getAttrOfType<mlir::DenseI64ArrayAttr>(
          name)[symbol.getPosition()];
    };
    int64_t min = bounds(nn::kDimMinAttr), max = bounds(nn::kDimMaxAttr);
    if (size < min || size > max)
      return fail("the input's " + what + " is bounded by " + Twine(min) +
                  " and " + Twine(max) + ", not " + Twine(size));
    return Error::success();
  }
  if (size && size != *fixed)
    return fail("the input's " + what + " is " + Twine(*fixed) + ", not " +
                Twine(size));
  size = *fixed;
  return Error::success();
}

Error Parser::matchShape() {
  nn::Shape shape = nn::getShape(type);
  mlir::Type element = type.getElementType();
  if (shape.size() < 3 || shape.size() > 4 ||
      !(element.isF32() || element.isUnsignedInteger(8)))
    return fail("'" + image.input +
                "' is no picture: expected f32 or ui8 with 3 or 4 axes");
  if (shape.size() == 4) {
    std::optional<int64_t> batch = nn::getConstant(shape.front());
    if (batch && *batch != 1)
      return fail("'" + image.input + "' holds " + Twine(*batch) +
                  " pictures at a time, expected one: see --shape");
    shape.erase(shape.begin());
  }
  auto isChannels = [&](nn::Dim dim) {
    std::optional<int64_t> size = nn::getConstant(dim);
    return size &&
           (hasOrder ? *size == image.channels : *size == 1 || *size == 3);
  };
  if (!hasLayout)
    image.nchw = isChannels(shape.front()) || !isChannels(shape.back());
  uint32_t channels = hasOrder ? image.channels : 0;
  if (Error error = matchAxis("number of channels",
                              image.nchw ? shape[0] : shape[2], channels))
    return error;
  image.channels = channels ? channels : 3;
  if (image.channels != 1 && image.channels != 3)
    return fail("'" + image.input + "' has " + Twine(image.channels) +
                " channels, a picture has 1 or 3");
  if (Error error =
          matchAxis("height", shape[image.nchw ? 1 : 0], image.height))
    return error;
  return matchAxis("width", shape[image.nchw ? 2 : 1], image.width);
}

Expected<emit::ImageInput> Parser::parse() {
  StringRef rest = text;
  if (Error error = findInput(rest))
    return std::move(error);
  SmallVector<StringRef> items;
  rest.split(items, ',', -1, /*KeepEmpty=*/false);
  for (auto [index, item] : enumerate(items)) {
    bool isSize = index == 0 && isDigit(item.front());
    if (Error error = isSize ? parseSize(item) : parseKey(item))
      return std::move(error);
  }
  if (Error error = matchShape())
    return std::move(error);
  for (std::vector<float> *values : {&image.mean, &image.std}) {
    if (values->size() == 1)
      values->resize(image.channels, values->front());
    if (!values->empty() && values->size() != image.channels)
      return fail("expected 1 or " + Twine(image.channels) + " numbers for " +
                  (values == &image.mean ? "mean" : "std") + ", not " +
                  Twine(values->size()));
  }
  return std::move(image);
}

Expected<emit::ImageInput> parseImage(StringRef text,
                                      mlir::func::FuncOp entry) {
  return Parser(text, entry).parse();
}

} // namespace pare::tools
