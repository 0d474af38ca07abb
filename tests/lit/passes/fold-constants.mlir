// RUN: pare-opt %s -split-input-file -nn-fold-constants -print-weights | FileCheck %s

// A small result is a constant; its weight is gone.

// CHECK-NOT: nn.weight
// CHECK-LABEL: @small
// CHECK-NEXT: %[[C:.*]] = nn.constant dense<{{\[\[}}1.000000e+00, 3.000000e+00], [2.000000e+00, 4.000000e+00]]>
// CHECK-NEXT: return %[[C]]
nn.weight @w : tensor<2x2xf32> {nn.test_value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>}
func.func @small() -> tensor<2x2xf32> {
  %w = nn.param @w : tensor<2x2xf32>
  %0 = nn.transpose %w {permutation = array<i64: 1, 0>} : (tensor<2x2xf32>) -> tensor<2x2xf32>
  return %0 : tensor<2x2xf32>
}

// -----

// A large one is a derived weight that names its source, through every step.

// CHECK: nn.weight @w.unary : tensor<30x20xf32> {source = "w"}
// CHECK-NOT: nn.weight
// CHECK-LABEL: @large
// CHECK-NEXT: %[[P:.*]] = nn.param @w.unary
// CHECK-NEXT: return %[[P]]
nn.weight @w : tensor<20x30xf32>
func.func @large() -> tensor<30x20xf32> {
  %w = nn.param @w : tensor<20x30xf32>
  %0 = nn.transpose %w {permutation = array<i64: 1, 0>} : (tensor<20x30xf32>) -> tensor<30x20xf32>
  %1 = nn.unary neg %0 : (tensor<30x20xf32>) -> tensor<30x20xf32>
  return %1 : tensor<30x20xf32>
}

// -----

// Quantized weights stay quantized, and nothing is blown up.

// CHECK-LABEL: @kept
// CHECK: nn.dequantize
// CHECK: nn.expand
nn.weight @codes : tensor<2x2xi8>
func.func @kept() -> (tensor<2x2xf32>, tensor<1000x1000xf32>) {
  %w = nn.param @codes : tensor<2x2xi8>
  %s = nn.constant dense<0.5> : tensor<2xf32>
  %0 = nn.dequantize %w, %s : (tensor<2x2xi8>, tensor<2xf32>) -> tensor<2x2xf32>
  %1 = nn.constant dense<0.5> : tensor<1x1xf32>
  %2 = nn.expand %1 : (tensor<1x1xf32>) -> tensor<1000x1000xf32>
  return %0, %2 : tensor<2x2xf32>, tensor<1000x1000xf32>
}
