// RUN: pare-opt %s -split-input-file -nn-sink-transposes | FileCheck %s

// Through elementwise ops, with a bias in the importer's layout, to the inverse.

// CHECK-LABEL: @elementwise
// CHECK-SAME: (%[[X:.*]]: tensor<1x4x5x3xf32>)
// CHECK: %[[R:.*]] = nn.unary relu %[[X]]
// CHECK: %[[B:.*]] = nn.reshape %{{.*}} : (tensor<3x1x1xf32>) -> tensor<1x1x1x3xf32>
// CHECK: %[[Y:.*]] = nn.binary add %[[R]], %[[B]]
// CHECK-NEXT: return %[[Y]]
nn.weight @b : tensor<3x1x1xf32>
func.func @elementwise(%x: tensor<1x4x5x3xf32>) -> tensor<1x4x5x3xf32> {
  %b = nn.param @b : tensor<3x1x1xf32>
  %0 = nn.transpose %x {permutation = array<i64: 0, 3, 1, 2>} : (tensor<1x4x5x3xf32>) -> tensor<1x3x4x5xf32>
  %1 = nn.unary relu %0 : (tensor<1x3x4x5xf32>) -> tensor<1x3x4x5xf32>
  %2 = nn.binary add %1, %b : (tensor<1x3x4x5xf32>, tensor<3x1x1xf32>) -> tensor<1x3x4x5xf32>
  %3 = nn.transpose %2 {permutation = array<i64: 0, 2, 3, 1>} : (tensor<1x3x4x5xf32>) -> tensor<1x4x5x3xf32>
  return %3 : tensor<1x4x5x3xf32>
}

// -----

// Axes are mapped.

// CHECK-LABEL: @axes
// CHECK: %[[C:.*]] = nn.concat %{{.*}} {axis = 3 : i64}
// CHECK: nn.pad constant %[[C]] {high = array<i64: 0, 0, 1, 0>, low = array<i64: 0, 0, 2, 0>
// CHECK: nn.reduce max %{{.*}} {axes = array<i64: 1, 2>}
// CHECK-NEXT: return
func.func @axes(%x: tensor<2x4x5x3xf32>) -> tensor<2x6xf32> {
  %0 = nn.transpose %x {permutation = array<i64: 0, 3, 1, 2>} : (tensor<2x4x5x3xf32>) -> tensor<2x3x4x5xf32>
  %1 = nn.concat %0, %0 {axis = 1 : i64} : (tensor<2x3x4x5xf32>, tensor<2x3x4x5xf32>) -> tensor<2x6x4x5xf32>
  %2 = nn.pad constant %1 {low = array<i64: 0, 0, 0, 2>, high = array<i64: 0, 0, 0, 1>} : (tensor<2x6x4x5xf32>) -> tensor<2x6x4x8xf32>
  %3 = nn.reduce max %2 {axes = array<i64: 2, 3>} : (tensor<2x6x4x8xf32>) -> tensor<2x6xf32>
  return %3 : tensor<2x6xf32>
}

// -----

// Pixels to tokens: the merged axes are neighbours before the transpose too.

// CHECK-LABEL: @tokens
// CHECK-NEXT: nn.reshape %arg0 : ({{.*}}) -> tensor<?x20x3xf32
// CHECK-NEXT: return
func.func @tokens(%x: tensor<?x4x5x3xf32, affine_map<()[s0] -> (s0, 4, 5, 3)>>) -> tensor<?x20x3xf32, affine_map<()[s0] -> (s0, 20, 3)>> {
  %0 = nn.transpose %x {permutation = array<i64: 0, 3, 1, 2>} : (tensor<?x4x5x3xf32, affine_map<()[s0] -> (s0, 4, 5, 3)>>) -> tensor<?x3x4x5xf32, affine_map<()[s0] -> (s0, 3, 4, 5)>>
  %1 = nn.reshape %0 : (tensor<?x3x4x5xf32, affine_map<()[s0] -> (s0, 3, 4, 5)>>) -> tensor<?x3x20xf32, affine_map<()[s0] -> (s0, 3, 20)>>
  %2 = nn.transpose %1 {permutation = array<i64: 0, 2, 1>} : (tensor<?x3x20xf32, affine_map<()[s0] -> (s0, 3, 20)>>) -> tensor<?x20x3xf32, affine_map<()[s0] -> (s0, 20, 3)>>
  return %2 : tensor<?x20x3xf32, affine_map<()[s0] -> (s0, 20, 3)>>
}

// -----

// Channels and pixels are not neighbours: the order of elements is needed.

// CHECK-LABEL: @flatten
// CHECK: nn.transpose
// CHECK: nn.reshape
func.func @flatten(%x: tensor<2x4x5x3xf32>) -> tensor<2x60xf32> {
  %0 = nn.transpose %x {permutation = array<i64: 0, 3, 1, 2>} : (tensor<2x4x5x3xf32>) -> tensor<2x3x4x5xf32>
  %1 = nn.reshape %0 : (tensor<2x3x4x5xf32>) -> tensor<2x60xf32>
  return %1 : tensor<2x60xf32>
}

// -----

// Two transposes at the end instead of one at the start would be worse.

// CHECK-LABEL: @revert
// CHECK-NEXT: nn.transpose
// CHECK-NEXT: nn.unary relu
// CHECK-NEXT: nn.unary exp
// CHECK-NEXT: return
func.func @revert(%x: tensor<4x5xf32>) -> (tensor<5x4xf32>, tensor<5x4xf32>) {
  %0 = nn.transpose %x {permutation = array<i64: 1, 0>} : (tensor<4x5xf32>) -> tensor<5x4xf32>
  %1 = nn.unary relu %0 : (tensor<5x4xf32>) -> tensor<5x4xf32>
  %2 = nn.unary exp %0 : (tensor<5x4xf32>) -> tensor<5x4xf32>
  return %1, %2 : tensor<5x4xf32>, tensor<5x4xf32>
}

// -----

// Axes of size 1 move for free.

// CHECK-LABEL: @unit
// CHECK-NEXT: nn.reshape %arg0 : (tensor<2x4x5x1xf32>) -> tensor<2x1x4x5xf32>
func.func @unit(%x: tensor<2x4x5x1xf32>) -> tensor<2x1x4x5xf32> {
  %0 = nn.transpose %x {permutation = array<i64: 0, 3, 1, 2>} : (tensor<2x4x5x1xf32>) -> tensor<2x1x4x5xf32>
  return %0 : tensor<2x1x4x5xf32>
}

// -----

// One of three heads' parts, cut before the axes are split.

// CHECK: #[[STARTS:.*]] = affine_map<() -> (0, 0, 16)>
// CHECK-LABEL: @part
// CHECK-NEXT: %[[S:.*]] = nn.slice %arg0 {starts = #[[STARTS]], steps = array<i64: 1, 1, 1>} : (tensor<2x9x24xf32>) -> tensor<2x9x8xf32>
// CHECK-NEXT: nn.reshape %[[S]]
func.func @part(%x: tensor<2x9x24xf32>) -> tensor<2x9x1x8xf32> {
  %0 = nn.reshape %x : (tensor<2x9x24xf32>) -> tensor<2x9x3x8xf32>
  %1 = nn.slice %0 {starts = affine_map<() -> (0, 0, 2, 0)>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x9x3x8xf32>) -> tensor<2x9x1x8xf32>
  return %1 : tensor<2x9x1x8xf32>
}
