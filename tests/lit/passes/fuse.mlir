// RUN: pare-opt %s -split-input-file -nn-fuse | FileCheck %s

// Bias, activation and residual join the product; the number does too.

// CHECK-LABEL: @product
// CHECK-NEXT: %[[R:.*]] = nn.fused "matmul+add+gelu+mul+add"(%arg0, %arg1, %arg2, %arg3)
// CHECK: nn.constant dense<5.000000e-01>
// CHECK: nn.yield
// CHECK: return %[[R]]
func.func @product(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>, %b: tensor<8xf32>, %r: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %half = nn.constant dense<0.5> : tensor<f32>
  %0 = nn.matmul %x, %w : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %1 = nn.binary add %0, %b : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  %2 = nn.unary gelu %1 : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %3 = nn.binary mul %2, %half : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %4 = nn.binary add %3, %r : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %4 : tensor<4x8xf32>
}

// -----

// A value that leaves the group ends it; one that fans out and comes back does
// not.

// CHECK-LABEL: @exits
// CHECK-NEXT: nn.fused "matmul+sigmoid+mul"
// CHECK: nn.fused "exp"
// CHECK: nn.fused "abs"
func.func @exits(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %0 = nn.matmul %x, %w : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %1 = nn.unary sigmoid %0 : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %2 = nn.binary mul %0, %1 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %3 = nn.unary exp %2 : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %4 = nn.unary abs %2 : (tensor<4x8xf32>) -> tensor<4x8xf32>
  return %3, %4 : tensor<4x8xf32>, tensor<4x8xf32>
}

// -----

// The result of a product may not be broadcast within its group.

// CHECK-LABEL: @broadcast
// CHECK-NEXT: nn.fused "matmul"
// CHECK: nn.fused "add"
func.func @broadcast(%x: tensor<1x8xf32>, %w: tensor<8x8xf32>, %y: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %0 = nn.matmul %x, %w : (tensor<1x8xf32>, tensor<8x8xf32>) -> tensor<1x8xf32>
  %1 = nn.binary add %0, %y : (tensor<1x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %1 : tensor<4x8xf32>
}

// -----

// An 8-bit product with its dequantizations; the normalization that feeds it
// hands out the sum, the codes and the scales.

// CHECK-LABEL: @quantized
// CHECK-NEXT: %[[N:.*]]:3 = nn.fused "add+layer_norm+dynamic_quantize"(%arg0, %arg1) : (tensor<4x8xf32>, tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xi8>, tensor<4x1xf32>)
// CHECK: nn.fused "matmul+add"(%[[N]]#1, %[[N]]#2, %arg2, %arg3, %[[N]]#0)
// CHECK-COUNT-2: nn.dequantize
// CHECK: nn.matmul
func.func @quantized(%a: tensor<4x8xf32>, %b: tensor<4x8xf32>, %w: tensor<8x8xi8>, %ws: tensor<8xf32>) -> tensor<4x8xf32> {
  %0 = nn.binary add %a, %b : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %1 = nn.layer_norm %0 {epsilon = 1.0e-5 : f32} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %c, %s = nn.dynamic_quantize %1 to i8 : (tensor<4x8xf32>) -> (tensor<4x8xi8>, tensor<4x1xf32>)
  %2 = nn.dequantize %c, %s : (tensor<4x8xi8>, tensor<4x1xf32>) -> tensor<4x8xf32>
  %3 = nn.dequantize %w, %ws : (tensor<8x8xi8>, tensor<8xf32>) -> tensor<8x8xf32>
  %4 = nn.matmul %2, %3 : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %5 = nn.binary add %4, %0 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %5 : tensor<4x8xf32>
}

// -----

// CHECK-LABEL: @table
// CHECK-NEXT: nn.fused "gather"(%arg0, %arg1, %arg2)
// CHECK: nn.dequantize
// CHECK: nn.gather
func.func @table(%codes: tensor<16x8xi8>, %scales: tensor<16x1xf32>, %i: tensor<4xi64>) -> tensor<4x8xf32> {
  %0 = nn.dequantize %codes, %scales : (tensor<16x8xi8>, tensor<16x1xf32>) -> tensor<16x8xf32>
  %1 = nn.gather %0, %i {axis = 0 : i64} : (tensor<16x8xf32>, tensor<4xi64>) -> tensor<4x8xf32>
  return %1 : tensor<4x8xf32>
}

// -----

// What has its own kernel stands alone.

// CHECK-LABEL: @alone
// CHECK-NEXT: nn.softmax
// CHECK-NEXT: nn.fused "neg+exp"
func.func @alone(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %0 = nn.softmax %x {axis = 1 : i64} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %1 = nn.unary neg %0 : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %2 = nn.unary exp %1 : (tensor<4x8xf32>) -> tensor<4x8xf32>
  return %2 : tensor<4x8xf32>
}

// -----

// Products of experts take their activation, the gate and their shares.

// CHECK-LABEL: @experts
// CHECK: nn.fused "expert_matmul+silu"
// CHECK: nn.fused "expert_matmul+mul"
// CHECK: nn.fused "expert_matmul+mul"
// CHECK: nn.reduce sum
func.func @experts(%x: tensor<5x64xf32>, %s: tensor<5x2x1xf32>, %w: tensor<8x64x64xf32>, %o: tensor<5x2xi32>, %b: tensor<9xi32>) -> tensor<5x64xf32> {
  %0 = nn.expert_matmul %x, %w by %o, %b : (tensor<5x64xf32>, tensor<8x64x64xf32>, tensor<5x2xi32>, tensor<9xi32>) -> tensor<5x2x64xf32>
  %1 = nn.expert_matmul %x, %w by %o, %b : (tensor<5x64xf32>, tensor<8x64x64xf32>, tensor<5x2xi32>, tensor<9xi32>) -> tensor<5x2x64xf32>
  %2 = nn.unary silu %0 : (tensor<5x2x64xf32>) -> tensor<5x2x64xf32>
  %3 = nn.binary mul %2, %1 : (tensor<5x2x64xf32>, tensor<5x2x64xf32>) -> tensor<5x2x64xf32>
  %4 = nn.expert_matmul %3, %w by %o, %b : (tensor<5x2x64xf32>, tensor<8x64x64xf32>, tensor<5x2xi32>, tensor<9xi32>) -> tensor<5x2x64xf32>
  %5 = nn.binary mul %4, %s : (tensor<5x2x64xf32>, tensor<5x2x1xf32>) -> tensor<5x2x64xf32>
  %6 = nn.reduce sum %5 {axes = array<i64: 1>} : (tensor<5x2x64xf32>) -> tensor<5x64xf32>
  return %6 : tensor<5x64xf32>
}
