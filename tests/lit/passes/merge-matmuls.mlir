// RUN: pare-opt %s -nn-merge-matmuls -print-weights | FileCheck %s

// Key and value share an input; the query of this cross attention does not. The
// key has no bias.

// CHECK: nn.weight @kw.merged : tensor<2x4xf32> {{{.*}}nn.source_sizes = array<i64: 2, 2>, nn.sources = ["kw", "vw"], nn.test_value = dense<{{\[\[}}1.000000e+00, 2.000000e+00, 5.000000e+00, 6.000000e+00], [3.000000e+00, 4.000000e+00, 7.000000e+00, 8.000000e+00]]>
// CHECK-LABEL: @main
// CHECK: %[[W:.*]] = nn.param @kw.merged
// CHECK: %[[M:.*]] = nn.matmul %arg1, %[[W]]
// CHECK: %[[B:.*]] = nn.constant dense<[0.000000e+00, 0.000000e+00, 1.000000e+00, 2.000000e+00]>
// CHECK: %[[Y:.*]] = nn.binary add %[[M]], %[[B]]
// CHECK: %[[K:.*]] = nn.slice %[[Y]] {{.*}} -> tensor<1x3x2xf32>
// CHECK: %[[V:.*]] = nn.slice %[[Y]] {{.*}} -> tensor<1x3x2xf32>
// CHECK: nn.reshape %[[K]]
// CHECK: nn.reshape %[[V]]
nn.weight @kw : tensor<2x2xf32> {nn.test_value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>}
nn.weight @vw : tensor<2x2xf32> {nn.test_value = dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>}
nn.weight @vb : tensor<2xf32> {nn.test_value = dense<[1.0, 2.0]> : tensor<2xf32>}
func.func @main(%q: tensor<1x3x1x2xf32>, %x: tensor<1x3x2xf32>) -> tensor<1x3x1x2xf32> {
  %kw = nn.param @kw : tensor<2x2xf32>
  %vw = nn.param @vw : tensor<2x2xf32>
  %vb = nn.param @vb : tensor<2xf32>
  %0 = nn.matmul %x, %kw : (tensor<1x3x2xf32>, tensor<2x2xf32>) -> tensor<1x3x2xf32>
  %1 = nn.matmul %x, %vw : (tensor<1x3x2xf32>, tensor<2x2xf32>) -> tensor<1x3x2xf32>
  %2 = nn.binary add %1, %vb : (tensor<1x3x2xf32>, tensor<2xf32>) -> tensor<1x3x2xf32>
  %k = nn.reshape %0 : (tensor<1x3x2xf32>) -> tensor<1x3x1x2xf32>
  %v = nn.reshape %2 : (tensor<1x3x2xf32>) -> tensor<1x3x1x2xf32>
  %a = nn.attention %q, %k, %v {scale = 1.0 : f32} : (tensor<1x3x1x2xf32>, tensor<1x3x1x2xf32>, tensor<1x3x1x2xf32>) -> tensor<1x3x1x2xf32>
  return %a : tensor<1x3x1x2xf32>
}
