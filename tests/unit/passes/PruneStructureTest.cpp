//===- PruneStructureTest.cpp - Channels and layers that go ---------------===//
#include "mlir/IR/Verifier.h"
#include "passes/prune/ChannelGraph.h"
#include "passes/prune/Layers.h"
#include "passes/prune/Structure.h"
#include "tests/unit/passes/TestGraph.h"
#include "tests/unit/passes/Zeroed.h"

using namespace mlir;
using namespace pare;
using namespace pare::prune;
using namespace pare::test;

namespace {

/// Cuts some channels of every group and compares with zeroed weights; how many
/// channels each group had and what they are is checked by `expected`, as
/// "filters 8, ffn 12".
void check(StringRef text, ArrayRef<SmallVector<int64_t>> shapes,
           StringRef expected) {
  Context context;
  Graph graph(context, text);
  ChannelGraph channels(*graph.module);
  std::string found;
  for (const ChannelGroup &group : channels.groups())
    found += (Twine(found.empty() ? "" : ", ") +
              (group.kind == ChannelKind::Ffn     ? "ffn "
               : group.kind == ChannelKind::Heads ? "heads "
                                                  : "filters ") +
              Twine(group.channels.size()))
                 .str();
  EXPECT_EQ(found, expected);
  llvm::DenseSet<unsigned> some = takeSome(channels);
  zeroChannels(channels, some, graph.weights);
  std::vector<HostTensor> zeroed = graph.run(shapes);
  channels.cut(some, graph.weights);
  ASSERT_TRUE(succeeded(verify(*graph.module)));
  EXPECT_LT(relativeError(graph.run(shapes), zeroed), 1e-5);
}

TEST(ChannelGraph, FollowsResidualConcatAndGroupedConvolutions) {
  check(R"(
    nn.weight @stem : tensor<8x3x3x3xf32>
    nn.weight @scale : tensor<8xf32>
    nn.weight @shift : tensor<8xf32>
    nn.weight @mean : tensor<8xf32>
    nn.weight @variance : tensor<8xf32>
    nn.weight @depthwise : tensor<16x3x3x1xf32>
    nn.weight @grouped : tensor<12x1x1x4xf32>
    nn.weight @back : tensor<8x1x1x28xf32>
    nn.weight @slope : tensor<8xf32>
    nn.weight @out : tensor<5x1x1x8xf32>
    func.func @main(%x: tensor<1x8x8x3xf32>) -> tensor<1x4x4x5xf32> {
      %w0 = nn.param @stem : tensor<8x3x3x3xf32>
      %a = nn.conv %x, %w0 {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x8x8x3xf32>, tensor<8x3x3x3xf32>) -> tensor<1x4x4x8xf32>
      %s = nn.param @scale : tensor<8xf32>
      %t = nn.param @shift : tensor<8xf32>
      %m = nn.param @mean : tensor<8xf32>
      %v = nn.param @variance : tensor<8xf32>
      %n = nn.batch_norm %a, %s, %t, %m, %v {epsilon = 1.0e-05 : f32} : (tensor<1x4x4x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x4x4x8xf32>
      %w1 = nn.param @depthwise : tensor<16x3x3x1xf32>
      %d = nn.conv %n, %w1 {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, groups = 8 : i64} : (tensor<1x4x4x8xf32>, tensor<16x3x3x1xf32>) -> tensor<1x4x4x16xf32>
      %w2 = nn.param @grouped : tensor<12x1x1x4xf32>
      %g = nn.conv %d, %w2 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, groups = 4 : i64} : (tensor<1x4x4x16xf32>, tensor<12x1x1x4xf32>) -> tensor<1x4x4x12xf32>
      %c = nn.concat %g, %d {axis = 3 : i64} : (tensor<1x4x4x12xf32>, tensor<1x4x4x16xf32>) -> tensor<1x4x4x28xf32>
      %w3 = nn.param @back : tensor<8x1x1x28xf32>
      %b = nn.conv %c, %w3 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x4x28xf32>, tensor<8x1x1x28xf32>) -> tensor<1x4x4x8xf32>
      %r = nn.binary add %n, %b : (tensor<1x4x4x8xf32>, tensor<1x4x4x8xf32>) -> tensor<1x4x4x8xf32>
      %q = nn.param @slope : tensor<8xf32>
      %p = nn.binary prelu %r, %q : (tensor<1x4x4x8xf32>, tensor<8xf32>) -> tensor<1x4x4x8xf32>
      %w4 = nn.param @out : tensor<5x1x1x8xf32>
      %y = nn.conv %p, %w4 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x4x8xf32>, tensor<5x1x1x8xf32>) -> tensor<1x4x4x5xf32>
      return %y : tensor<1x4x4x5xf32>
    })",
        {{1, 8, 8, 3}},
        // Inputs at one place of the grouped convolution's groups are one
        // channel, and with them every other filter of the stem.
        "filters 2, filters 3");
}

TEST(ChannelGraph, FollowsSqueezeAndExciteAndFlattening) {
  check(R"(
    nn.weight @stem : tensor<16x1x1x3xf32>
    nn.weight @squeeze : tensor<6x1x1x16xf32>
    nn.weight @bias : tensor<6xf32>
    nn.weight @excite : tensor<16x1x1x6xf32>
    nn.weight @hidden : tensor<64x10xf32>
    nn.weight @out : tensor<10x4xf32>
    func.func @main(%x: tensor<2x4x4x3xf32>) -> tensor<2x4xf32> {
      %w0 = nn.param @stem : tensor<16x1x1x3xf32>
      %a = nn.conv %x, %w0 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<2x4x4x3xf32>, tensor<16x1x1x3xf32>) -> tensor<2x4x4x16xf32>
      %m = nn.reduce mean %a {axes = array<i64: 1, 2>, keep_dims} : (tensor<2x4x4x16xf32>) -> tensor<2x1x1x16xf32>
      %w1 = nn.param @squeeze : tensor<6x1x1x16xf32>
      %s = nn.conv %m, %w1 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<2x1x1x16xf32>, tensor<6x1x1x16xf32>) -> tensor<2x1x1x6xf32>
      %b = nn.param @bias : tensor<6xf32>
      %t = nn.binary add %s, %b : (tensor<2x1x1x6xf32>, tensor<6xf32>) -> tensor<2x1x1x6xf32>
      %u = nn.unary relu %t : (tensor<2x1x1x6xf32>) -> tensor<2x1x1x6xf32>
      %w2 = nn.param @excite : tensor<16x1x1x6xf32>
      %e = nn.conv %u, %w2 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<2x1x1x6xf32>, tensor<16x1x1x6xf32>) -> tensor<2x1x1x16xf32>
      %g = nn.unary sigmoid %e : (tensor<2x1x1x16xf32>) -> tensor<2x1x1x16xf32>
      %h = nn.binary mul %a, %g : (tensor<2x4x4x16xf32>, tensor<2x1x1x16xf32>) -> tensor<2x4x4x16xf32>
      %p = nn.pool max %h {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<2x4x4x16xf32>) -> tensor<2x2x2x16xf32>
      %n = nn.transpose %p {permutation = array<i64: 0, 3, 1, 2>} : (tensor<2x2x2x16xf32>) -> tensor<2x16x2x2xf32>
      %f = nn.reshape %n : (tensor<2x16x2x2xf32>) -> tensor<2x64xf32>
      %w3 = nn.param @hidden : tensor<64x10xf32>
      %i = nn.matmul %f, %w3 : (tensor<2x64xf32>, tensor<64x10xf32>) -> tensor<2x10xf32>
      %r = nn.unary relu %i : (tensor<2x10xf32>) -> tensor<2x10xf32>
      %w4 = nn.param @out : tensor<10x4xf32>
      %y = nn.matmul %r, %w4 : (tensor<2x10xf32>, tensor<10x4xf32>) -> tensor<2x4xf32>
      return %y : tensor<2x4xf32>
    })",
        {{2, 4, 4, 3}}, "filters 16, filters 6, ffn 10");
}

TEST(ChannelGraph, KeepsShuffledGroupsEqual) {
  // 12 channels as 3 groups of 4, shuffled: a channel is one place in each.
  check(R"(
    nn.weight @stem : tensor<12x1x1x3xf32>
    nn.weight @out : tensor<5x1x1x12xf32>
    func.func @main(%x: tensor<1x2x2x3xf32>) -> tensor<1x2x2x5xf32> {
      %w0 = nn.param @stem : tensor<12x1x1x3xf32>
      %a = nn.conv %x, %w0 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x2x2x3xf32>, tensor<12x1x1x3xf32>) -> tensor<1x2x2x12xf32>
      %b = nn.reshape %a : (tensor<1x2x2x12xf32>) -> tensor<1x2x2x3x4xf32>
      %c = nn.transpose %b {permutation = array<i64: 0, 1, 2, 4, 3>} : (tensor<1x2x2x3x4xf32>) -> tensor<1x2x2x4x3xf32>
      %d = nn.reshape %c : (tensor<1x2x2x4x3xf32>) -> tensor<1x2x2x12xf32>
      %w1 = nn.param @out : tensor<5x1x1x12xf32>
      %y = nn.conv %d, %w1 {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x2x2x12xf32>, tensor<5x1x1x12xf32>) -> tensor<1x2x2x5xf32>
      return %y : tensor<1x2x2x5xf32>
    })",
        {{1, 2, 2, 3}}, "filters 4");
}

TEST(ChannelGraph, LeavesWhatIsMixed) {
  // Channels of a softmax, of a result, and of a part that is added to the
  // input may not go; those of the other part may.
  check(R"(
    nn.weight @a : tensor<3x8xf32>
    nn.weight @b : tensor<8x8xf32>
    nn.weight @c : tensor<5x3xf32>
    func.func @main(%x: tensor<2x3xf32>) -> (tensor<2x3xf32>) {
      %w0 = nn.param @a : tensor<3x8xf32>
      %0 = nn.matmul %x, %w0 : (tensor<2x3xf32>, tensor<3x8xf32>) -> tensor<2x8xf32>
      %1 = nn.softmax %0 {axis = 1 : i64} : (tensor<2x8xf32>) -> tensor<2x8xf32>
      %w1 = nn.param @b : tensor<8x8xf32>
      %2 = nn.matmul %1, %w1 : (tensor<2x8xf32>, tensor<8x8xf32>) -> tensor<2x8xf32>
      %3 = nn.slice %2 {starts = affine_map<() -> (0, 5)>, steps = array<i64: 1, 1>} : (tensor<2x8xf32>) -> tensor<2x3xf32>
      %4 = nn.slice %2 {starts = affine_map<() -> (0, 0)>, steps = array<i64: 1, 1>} : (tensor<2x8xf32>) -> tensor<2x5xf32>
      %5 = nn.binary mul %3, %x : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
      %w2 = nn.param @c : tensor<5x3xf32>
      %6 = nn.matmul %4, %w2 : (tensor<2x5xf32>, tensor<5x3xf32>) -> tensor<2x3xf32>
      %7 = nn.binary add %5, %6 : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
      return %7 : tensor<2x3xf32>
    })",
        {{2, 3}}, "ffn 5");
}

TEST(ChannelGraph, TakesWholeGroupsOfHeads) {
  // Query, key and value in one product, a norm over each head's elements, 6
  // query heads for 3 key heads.
  check(R"(
    nn.weight @qkv : tensor<12x48xf32>
    nn.weight @bias : tensor<48xf32>
    nn.weight @norm : tensor<4xf32>
    nn.weight @out : tensor<24x12xf32>
    func.func @main(%x: tensor<1x5x12xf32>) -> tensor<1x5x12xf32> {
      %w0 = nn.param @qkv : tensor<12x48xf32>
      %0 = nn.matmul %x, %w0 : (tensor<1x5x12xf32>, tensor<12x48xf32>) -> tensor<1x5x48xf32>
      %b = nn.param @bias : tensor<48xf32>
      %1 = nn.binary add %0, %b : (tensor<1x5x48xf32>, tensor<48xf32>) -> tensor<1x5x48xf32>
      %q0 = nn.slice %1 {starts = affine_map<() -> (0, 0, 0)>, steps = array<i64: 1, 1, 1>} : (tensor<1x5x48xf32>) -> tensor<1x5x24xf32>
      %k0 = nn.slice %1 {starts = affine_map<() -> (0, 0, 24)>, steps = array<i64: 1, 1, 1>} : (tensor<1x5x48xf32>) -> tensor<1x5x12xf32>
      %v0 = nn.slice %1 {starts = affine_map<() -> (0, 0, 36)>, steps = array<i64: 1, 1, 1>} : (tensor<1x5x48xf32>) -> tensor<1x5x12xf32>
      %q1 = nn.reshape %q0 : (tensor<1x5x24xf32>) -> tensor<1x5x6x4xf32>
      %k = nn.reshape %k0 : (tensor<1x5x12xf32>) -> tensor<1x5x3x4xf32>
      %v = nn.reshape %v0 : (tensor<1x5x12xf32>) -> tensor<1x5x3x4xf32>
      %n = nn.param @norm : tensor<4xf32>
      %q = nn.rms_norm %q1 scale %n {epsilon = 1.0e-05 : f32} : (tensor<1x5x6x4xf32>, tensor<4xf32>) -> tensor<1x5x6x4xf32>
      %a = nn.attention %q, %k, %v {scale = 0.5 : f32} : (tensor<1x5x6x4xf32>, tensor<1x5x3x4xf32>, tensor<1x5x3x4xf32>) -> tensor<1x5x6x4xf32>
      %f = nn.reshape %a : (tensor<1x5x6x4xf32>) -> tensor<1x5x24xf32>
      %w1 = nn.param @out : tensor<24x12xf32>
      %y = nn.matmul %f, %w1 : (tensor<1x5x24xf32>, tensor<24x12xf32>) -> tensor<1x5x12xf32>
      return %y : tensor<1x5x12xf32>
    })",
        {{1, 5, 12}}, "heads 3");
}

TEST(ChannelGraph, SplitsOneProductIntoQueryKeyAndValue) {
  // [3, heads, elements] in one axis, as vision transformers have it.
  check(R"(
    nn.weight @qkv : tensor<12x36xf32>
    nn.weight @out : tensor<12x12xf32>
    func.func @main(%x: tensor<1x5x12xf32>) -> tensor<1x5x12xf32> {
      %w0 = nn.param @qkv : tensor<12x36xf32>
      %0 = nn.matmul %x, %w0 : (tensor<1x5x12xf32>, tensor<12x36xf32>) -> tensor<1x5x36xf32>
      %1 = nn.reshape %0 : (tensor<1x5x36xf32>) -> tensor<1x5x3x3x4xf32>
      %2 = nn.transpose %1 {permutation = array<i64: 2, 0, 1, 3, 4>} : (tensor<1x5x3x3x4xf32>) -> tensor<3x1x5x3x4xf32>
      %q0 = nn.slice %2 {starts = affine_map<() -> (0, 0, 0, 0, 0)>, steps = array<i64: 1, 1, 1, 1, 1>} : (tensor<3x1x5x3x4xf32>) -> tensor<1x1x5x3x4xf32>
      %k0 = nn.slice %2 {starts = affine_map<() -> (1, 0, 0, 0, 0)>, steps = array<i64: 1, 1, 1, 1, 1>} : (tensor<3x1x5x3x4xf32>) -> tensor<1x1x5x3x4xf32>
      %v0 = nn.slice %2 {starts = affine_map<() -> (2, 0, 0, 0, 0)>, steps = array<i64: 1, 1, 1, 1, 1>} : (tensor<3x1x5x3x4xf32>) -> tensor<1x1x5x3x4xf32>
      %q = nn.reshape %q0 : (tensor<1x1x5x3x4xf32>) -> tensor<1x5x3x4xf32>
      %k = nn.reshape %k0 : (tensor<1x1x5x3x4xf32>) -> tensor<1x5x3x4xf32>
      %v = nn.reshape %v0 : (tensor<1x1x5x3x4xf32>) -> tensor<1x5x3x4xf32>
      %a = nn.attention %q, %k, %v {scale = 0.5 : f32} : (tensor<1x5x3x4xf32>, tensor<1x5x3x4xf32>, tensor<1x5x3x4xf32>) -> tensor<1x5x3x4xf32>
      %f = nn.reshape %a : (tensor<1x5x3x4xf32>) -> tensor<1x5x12xf32>
      %w1 = nn.param @out : tensor<12x12xf32>
      %y = nn.matmul %f, %w1 : (tensor<1x5x12xf32>, tensor<12x12xf32>) -> tensor<1x5x12xf32>
      return %y : tensor<1x5x12xf32>
    })",
        {{1, 5, 12}}, "heads 3");
}

TEST(ChannelGraph, CutsExpertsAlike) {
  check(R"(
    nn.weight @router : tensor<4x8xf32>
    nn.weight @up : tensor<4x6x8xf32>
    nn.weight @down : tensor<4x8x6xf32>
    func.func @main(%x: tensor<5x8xf32>) -> tensor<5x2x8xf32> {
      %r = nn.param @router : tensor<4x8xf32>
      %l = nn.matmul %x, %r {transpose_rhs} : (tensor<5x8xf32>, tensor<4x8xf32>) -> tensor<5x4xf32>
      %s, %e = nn.route %l {used = 2 : i64} : (tensor<5x4xf32>) -> (tensor<5x2xf32>, tensor<5x2xi32>)
      %o, %b = nn.group_by_expert %e {count = 4 : i64} : (tensor<5x2xi32>) -> (tensor<5x2xi32>, tensor<5xi32>)
      %u = nn.param @up : tensor<4x6x8xf32>
      %0 = nn.expert_matmul %x, %u by %o, %b : (tensor<5x8xf32>, tensor<4x6x8xf32>, tensor<5x2xi32>, tensor<5xi32>) -> tensor<5x2x6xf32>
      %1 = nn.unary silu %0 : (tensor<5x2x6xf32>) -> tensor<5x2x6xf32>
      %d = nn.param @down : tensor<4x8x6xf32>
      %2 = nn.expert_matmul %1, %d by %o, %b : (tensor<5x2x6xf32>, tensor<4x8x6xf32>, tensor<5x2xi32>, tensor<5xi32>) -> tensor<5x2x8xf32>
      return %2 : tensor<5x2x8xf32>
    })",
        {{5, 8}}, "ffn 6");
}

TEST(ParsePrune, TakesSharesAndNumbersOnce) {
  PruneOptions options;
  EXPECT_FALSE(options.isActive());
  ASSERT_FALSE(bool(parsePrune("ffn=25%", options)));
  ASSERT_FALSE(bool(parsePrune("layers=6", options)));
  EXPECT_EQ(options.ffn->share, 0.25);
  EXPECT_EQ(options.layers->count, 6);
  EXPECT_FALSE(options.heads || options.filters);
  for (StringRef bad : {"ffn=30%", "width=25%", "heads", "heads=", "heads=0",
                        "heads=-1", "heads=0%", "heads=100%", "heads=x%"}) {
    llvm::Error error = parsePrune(bad, options);
    ASSERT_TRUE(bool(error)) << bad.str();
    std::string message = llvm::toString(std::move(error));
    EXPECT_TRUE(StringRef(message).starts_with(("--prune " + bad + ": ").str()))
        << message;
  }
  EXPECT_FALSE(options.heads);
}

} // namespace
