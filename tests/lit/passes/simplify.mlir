// RUN: pare-opt %s -split-input-file -nn-simplify | FileCheck %s

// What changes nothing goes away.

// CHECK-LABEL: @neutral
// CHECK-SAME: (%[[X:.*]]: tensor<2x3xf32>)
// CHECK-NEXT: return %[[X]]
func.func @neutral(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %zero = nn.constant dense<0.0> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<3xf32>
  %0 = nn.binary add %zero, %x : (tensor<f32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %1 = nn.binary mul %0, %one : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  %2 = nn.cast %1 to f32 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %3 = nn.slice %2 {starts = affine_map<() -> (0, 0)>, steps = array<i64: 1, 1>} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %3 : tensor<2x3xf32>
}

// -----

// A neutral element that broadcasts changes the shape: it stays.

// CHECK-LABEL: @broadcastStays
// CHECK: nn.binary add
func.func @broadcastStays(%x: tensor<1x3xf32>) -> tensor<2x3xf32> {
  %zero = nn.constant dense<0.0> : tensor<2x3xf32>
  %0 = nn.binary add %x, %zero : (tensor<1x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// -----

// CHECK-LABEL: @division
// CHECK-DAG: %[[QUARTER:.*]] = nn.constant dense<2.500000e-01>
// CHECK: %[[A:.*]] = nn.binary mul %{{.*}}, %[[QUARTER]]
// CHECK: %[[R:.*]] = nn.unary rsqrt
// CHECK: nn.binary mul %[[A]], %[[R]]
func.func @division(%x: tensor<2xf32>, %y: tensor<2xf32>) -> tensor<2xf32> {
  %four = nn.constant dense<4.0> : tensor<f32>
  %0 = nn.binary div %x, %four : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %1 = nn.unary sqrt %y : (tensor<2xf32>) -> tensor<2xf32>
  %2 = nn.binary div %0, %1 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %2 : tensor<2xf32>
}

// -----

// CHECK-LABEL: @square
// CHECK-SAME: (%[[X:.*]]: tensor<2xf32>)
// CHECK: nn.binary mul %[[X]], %[[X]]
func.func @square(%x: tensor<2xf32>) -> tensor<2xf32> {
  %two = nn.constant dense<2.0> : tensor<f32>
  %0 = nn.binary pow %x, %two : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

// CHECK-LABEL: @numbersMerge
// CHECK-DAG: %[[C:.*]] = nn.constant dense<6.000000e+00> : tensor<f32>
// CHECK: nn.binary mul %{{.*}}, %[[C]]
// CHECK-NEXT: return
func.func @numbersMerge(%x: tensor<2xf32>) -> tensor<2xf32> {
  %two = nn.constant dense<2.0> : tensor<f32>
  %three = nn.constant dense<3.0> : tensor<1xf32>
  %0 = nn.binary mul %x, %two : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %1 = nn.binary mul %0, %three : (tensor<2xf32>, tensor<1xf32>) -> tensor<2xf32>
  return %1 : tensor<2xf32>
}

// -----

// CHECK-LABEL: @clips
// CHECK: nn.unary clip %{{.*}} {alpha = 0.000000e+00 : f32, beta = 4.000000e+00 : f32}
// CHECK-NEXT: return
func.func @clips(%x: tensor<2xf32>) -> tensor<2xf32> {
  %six = nn.constant dense<6.0> : tensor<f32>
  %0 = nn.unary relu %x : (tensor<2xf32>) -> tensor<2xf32>
  %1 = nn.binary min %0, %six : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %2 = nn.unary clip %1 {beta = 4.0 : f32} : (tensor<2xf32>) -> tensor<2xf32>
  return %2 : tensor<2xf32>
}

// -----

// CHECK-LABEL: @mean
// CHECK: nn.reduce mean %{{.*}} {axes = array<i64: 1>, keep_dims}
// CHECK-NEXT: return
func.func @mean(%x: tensor<2x8xf32>) -> tensor<2x1xf32> {
  %n = nn.constant dense<8.0> : tensor<f32>
  %0 = nn.reduce sum %x {axes = array<i64: 1>, keep_dims} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %1 = nn.binary div %0, %n : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  return %1 : tensor<2x1xf32>
}

// -----

// CHECK-LABEL: @transposedWeight
// CHECK: nn.matmul %{{.*}}, %{{.*}} {transpose_rhs} : (tensor<2x3xf32>, tensor<4x3xf32>)
nn.weight @w : tensor<4x3xf32>
func.func @transposedWeight(%x: tensor<2x3xf32>) -> tensor<2x4xf32> {
  %w = nn.param @w : tensor<4x3xf32>
  %0 = nn.transpose %w {permutation = array<i64: 1, 0>} : (tensor<4x3xf32>) -> tensor<3x4xf32>
  %1 = nn.matmul %x, %0 : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2x4xf32>
  return %1 : tensor<2x4xf32>
}

// -----

// One known index is a slice, from the end too, where the size is symbolic.

// CHECK: #[[STARTS:.*]] = affine_map<()[s0] -> (s0 - 1, 0)>
// CHECK-LABEL: @lastRow
// CHECK: %[[S:.*]] = nn.slice %{{.*}} {starts = #[[STARTS]], steps = array<i64: 1, 1>} : ({{.*}}) -> tensor<1x3xf32>
// CHECK: nn.reshape %[[S]] : (tensor<1x3xf32>) -> tensor<3xf32>
func.func @lastRow(%x: tensor<?x3xf32, affine_map<()[s0] -> (s0, 3)>>) -> tensor<3xf32> {
  %i = nn.constant dense<-1> : tensor<i64>
  %0 = nn.gather %x, %i {axis = 0 : i64} : (tensor<?x3xf32, affine_map<()[s0] -> (s0, 3)>>, tensor<i64>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// -----

// CHECK-LABEL: @padding
// CHECK-NOT: nn.pad
// CHECK: nn.conv %{{.*}} {{{.*}}pads = array<i64: 1, 0, 2, 0>
func.func @padding(%x: tensor<1x4x4x2xf32>, %f: tensor<3x2x1x2xf32>) -> tensor<1x6x4x3xf32> {
  %0 = nn.pad constant %x {low = array<i64: 0, 1, 0, 0>, high = array<i64: 0, 2, 0, 0>} : (tensor<1x4x4x2xf32>) -> tensor<1x7x4x2xf32>
  %1 = nn.conv %0, %f {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x7x4x2xf32>, tensor<3x2x1x2xf32>) -> tensor<1x6x4x3xf32>
  return %1 : tensor<1x6x4x3xf32>
}
