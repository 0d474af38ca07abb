#include "tools/ImageOption.h"
#include "mlir/Parser/Parser.h"
#include "tools/Cli.h"
#include "gtest/gtest.h"

using namespace pare;

namespace {

class ImageOptionTest : public testing::Test {
protected:
  ImageOptionTest() { tools::loadDialects(context); }

  /// Parses `text` for a model with the inputs `arguments`.
  llvm::Expected<emit::ImageInput> parse(llvm::StringRef text,
                                         llvm::StringRef arguments) {
    module = mlir::parseSourceString<mlir::ModuleOp>(
        ("func.func @main(" + arguments + ") { return }").str(), &context);
    return tools::parseImage(text, nn::getEntry(*module));
  }
  emit::ImageInput good(llvm::StringRef text,
                        llvm::StringRef arguments = kPlanar) {
    llvm::Expected<emit::ImageInput> image = parse(text, arguments);
    if (image)
      return *image;
    ADD_FAILURE() << llvm::toString(image.takeError());
    return {};
  }
  std::string bad(llvm::StringRef text, llvm::StringRef arguments = kPlanar) {
    llvm::Expected<emit::ImageInput> image = parse(text, arguments);
    if (!image)
      return llvm::toString(image.takeError());
    ADD_FAILURE() << "accepted";
    return "";
  }

  static constexpr const char *kPlanar =
      R"(%x: tensor<1x3x48x320xf32> {nn.name = "x"})";
  static constexpr const char *kInterleaved =
      R"(%x: tensor<1x48x320x3xui8> {nn.name = "x"})";
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

TEST_F(ImageOptionTest, ReadsEveryKey) {
  emit::ImageInput image =
      good("x=320x48,mean=0.1:0.2:0.3,std=0.5,layout=nchw,bgr");
  EXPECT_EQ(image.input, "x");
  EXPECT_EQ(image.width, 320u);
  EXPECT_EQ(image.height, 48u);
  EXPECT_TRUE(image.nchw);
  EXPECT_TRUE(image.bgr);
  EXPECT_EQ(image.mean, (std::vector<float>{0.1f, 0.2f, 0.3f}));
  EXPECT_EQ(image.std, (std::vector<float>{0.5f, 0.5f, 0.5f}));
}

TEST_F(ImageOptionTest, TakesFromTheModelWhatIsLeftOut) {
  emit::ImageInput image = good("x=");
  EXPECT_EQ(image.width, 320u);
  EXPECT_EQ(image.height, 48u);
  EXPECT_EQ(image.channels, 3u);
  EXPECT_TRUE(image.nchw);
  EXPECT_FALSE(good("320x48", kInterleaved).nchw);
}

TEST_F(ImageOptionTest, RefusesWhatContradictsTheModel) {
  EXPECT_NE(bad("x=48x320").find("height is 48, not 320"), std::string::npos);
  EXPECT_NE(bad("x=,gray").find("channels is 3, not 1"), std::string::npos);
  EXPECT_NE(bad("x=,layout=nhwc").find("320 channels"), std::string::npos);
  EXPECT_NE(bad("y=320x48").find("inputs are x"), std::string::npos);
  EXPECT_NE(bad("x=", R"(%x: tensor<4x3x8x8xf32> {nn.name = "x"})")
                .find("4 pictures"),
            std::string::npos);
  EXPECT_NE(
      bad("x=", R"(%x: tensor<1x8xi64> {nn.name = "x"})").find("no picture"),
      std::string::npos);
}

TEST_F(ImageOptionTest, RefusesMalformedText) {
  for (const char *text :
       {"x=320", "x=320x", "x=0x48", "x=99999999999x48", "x=320x48,mean=",
        "x=320x48,mean=a", "x=320x48,mean=nan", "x=320x48,std=0",
        "x=320x48,mean=0:0", "x=320x48,layout=hwc", "x=320x48,cmyk"})
    EXPECT_NE(bad(text), "") << text;
  // Of pixel values divided by 255.
  EXPECT_NE(bad("x=320x48,mean=123.7").find("255"), std::string::npos);
}

} // namespace
