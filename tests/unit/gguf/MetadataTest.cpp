//===- MetadataTest.cpp - Values of every type ----------------------------===//
#include "frontend/gguf/Metadata.h"
#include "llvm/Support/Endian.h"
#include "gtest/gtest.h"

namespace pare::gguf {
namespace {

/// Little-endian bytes of numbers and strings, one after the other.
class Bytes {
public:
  template <typename T> Bytes &add(T value) {
    uint8_t bytes[sizeof(T)];
    llvm::support::endian::write<T, llvm::endianness::little>(bytes, value);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof(T));
    return *this;
  }
  Bytes &add(const char *text) {
    add(uint64_t(strlen(text)));
    bytes_.insert(bytes_.end(), text, text + strlen(text));
    return *this;
  }
  Bytes &array(ValueType type, uint64_t count) {
    return add(uint32_t(type)).add(count);
  }
  std::optional<Value> read(ValueType type) const {
    llvm::ArrayRef<uint8_t> rest = bytes_;
    std::optional<Value> value = Value::read(type, rest);
    if (value)
      EXPECT_TRUE(rest.empty());
    return value;
  }

private:
  std::vector<uint8_t> bytes_;
};

TEST(MetadataTest, Numbers) {
  EXPECT_EQ(Bytes().add(uint8_t(200)).read(ValueType::U8)->getInteger(), 200);
  EXPECT_EQ(Bytes().add(int8_t(-3)).read(ValueType::I8)->getInteger(), -3);
  EXPECT_EQ(Bytes().add(uint16_t(65000)).read(ValueType::U16)->getInteger(),
            65000);
  EXPECT_EQ(Bytes().add(int16_t(-3)).read(ValueType::I16)->getInteger(), -3);
  EXPECT_EQ(Bytes().add(UINT32_MAX).read(ValueType::U32)->getInteger(),
            4294967295);
  EXPECT_EQ(Bytes().add(int32_t(-3)).read(ValueType::I32)->getInteger(), -3);
  EXPECT_EQ(Bytes().add(INT64_MIN).read(ValueType::I64)->getInteger(),
            INT64_MIN);
  EXPECT_EQ(Bytes().add(uint64_t(5)).read(ValueType::U64)->getInteger(), 5);
  EXPECT_EQ(Bytes().add(UINT64_MAX).read(ValueType::U64)->getInteger(),
            std::nullopt);
  EXPECT_EQ(Bytes().add(UINT64_MAX).read(ValueType::U64)->print(),
            "18446744073709551615");
  EXPECT_EQ(Bytes().add(0.5f).read(ValueType::F32)->getNumber(), 0.5);
  EXPECT_EQ(Bytes().add(0.1).read(ValueType::F64)->getNumber(), 0.1);
  EXPECT_EQ(Bytes().add(0.5f).read(ValueType::F32)->getInteger(), std::nullopt);
  EXPECT_EQ(Bytes().add(uint8_t(1)).read(ValueType::Bool)->getBool(), true);
  EXPECT_EQ(Bytes().add(uint8_t(1)).read(ValueType::U8)->getBool(),
            std::nullopt);
}

TEST(MetadataTest, StringsAndArrays) {
  EXPECT_EQ(Bytes().add("a\nb").read(ValueType::String)->getString(), "a\nb");
  EXPECT_EQ(Bytes().add("a\nb").read(ValueType::String)->print(), "\"a\\0Ab\"");
  EXPECT_EQ(Bytes().add("Ġab").read(ValueType::String)->print(), "\"Ġab\"");
  EXPECT_EQ(Bytes().add("\xff").read(ValueType::String)->print(), "\"\\FF\"");
  std::string accents;
  for (unsigned i = 0; i < 40; ++i)
    accents += "é";
  EXPECT_EQ(
      Bytes().add(("a" + accents).c_str()).read(ValueType::String)->print(),
      "\"a" + accents.substr(0, 58) + "…\"");
  Bytes bytes;
  bytes.array(ValueType::String, 2).add("x").add("");
  std::optional<Value> strings = bytes.read(ValueType::Array);
  ASSERT_TRUE(strings);
  EXPECT_EQ(strings->size(), 2u);
  EXPECT_EQ(*strings->getStrings(), (std::vector<llvm::StringRef>{"x", ""}));
  EXPECT_EQ(strings->getIntegers(), std::nullopt);
  EXPECT_EQ(strings->print(), "2 x string [\"x\", \"\"]");
  EXPECT_EQ(*Bytes()
                 .array(ValueType::F32, 2)
                 .add(1.5f)
                 .add(-2.0f)
                 .read(ValueType::Array)
                 ->getNumbers(),
            (std::vector<double>{1.5, -2}));
}

TEST(MetadataTest, NestedArrays) {
  Bytes bytes;
  bytes.array(ValueType::Array, 2)
      .array(ValueType::U8, 3)
      .add(uint8_t(1))
      .add(uint8_t(2))
      .add(uint8_t(3))
      .array(ValueType::String, 1)
      .add("s");
  std::optional<Value> nested = bytes.read(ValueType::Array);
  ASSERT_TRUE(nested);
  std::vector<Value> inner = nested->elements();
  ASSERT_EQ(inner.size(), 2u);
  EXPECT_EQ(*inner[0].getIntegers(), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(*inner[1].getStrings(), (std::vector<llvm::StringRef>{"s"}));
}

TEST(MetadataTest, LengthsAndNestingAreBounded) {
  EXPECT_FALSE(Bytes().add(UINT64_MAX).read(ValueType::String));
  EXPECT_FALSE(
      Bytes().array(ValueType::U64, UINT64_MAX / 8 + 2).read(ValueType::Array));
  EXPECT_FALSE(
      Bytes().array(ValueType::String, UINT64_MAX).read(ValueType::Array));
  EXPECT_FALSE(
      Bytes().array(ValueType::Array, UINT64_MAX).read(ValueType::Array));
  EXPECT_FALSE(Bytes().array(ValueType(13), 0).read(ValueType::Array));
  EXPECT_FALSE(Bytes().add(uint8_t(1)).read(ValueType(13)));
  Bytes deep;
  for (unsigned i = 0; i < 100'000; ++i)
    deep.array(ValueType::Array, 1);
  EXPECT_FALSE(deep.read(ValueType::Array));
}

TEST(MetadataTest, ErrorsNameTheKey) {
  Metadata metadata("m.gguf");
  Bytes text, number;
  text.add("word");
  number.add(uint32_t(7));
  ASSERT_TRUE(metadata.add("text", *text.read(ValueType::String)));
  ASSERT_TRUE(metadata.add("number", *number.read(ValueType::U32)));
  EXPECT_FALSE(metadata.add("text", *text.read(ValueType::String)));
  EXPECT_EQ(*metadata.getInteger("number", 0, 7), 7);
  EXPECT_EQ(*metadata.getInteger("absent", 0, 7, 3), 3);
  EXPECT_EQ(llvm::toString(metadata.getInteger("absent", 0, 7).takeError()),
            "m.gguf: metadata key 'absent' is missing");
  EXPECT_EQ(llvm::toString(metadata.getInteger("number", 0, 6).takeError()),
            "m.gguf: metadata key 'number' must be an integer from 0 to 6, not "
            "u32 7");
  EXPECT_EQ(llvm::toString(metadata.getNumber("text").takeError()),
            "m.gguf: metadata key 'text' must be a number, not string "
            "\"word\"");
  EXPECT_TRUE(cantFail(metadata.getStrings("absent")).empty());
  EXPECT_EQ(llvm::toString(metadata.getStrings("text").takeError()),
            "m.gguf: metadata key 'text' must be an array of strings, not "
            "string \"word\"");
}

} // namespace
} // namespace pare::gguf
