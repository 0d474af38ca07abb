// RUN: pare-opt %s -split-input-file -nn-fold-normalization | FileCheck %s

// scale / sqrt(variance + epsilon) = 2 and 3; the convolution's own bias goes
// through it.

// CHECK-LABEL: @afterConv
// CHECK-DAG: %[[F:.*]] = nn.constant dense<{{\[\[\[}}2.000000e+00]], {{\[\[}}6.000000e+00]]]> : tensor<2x1x1xf32>
// CHECK-DAG: %[[B:.*]] = nn.constant dense<[1.200000e+01, 3.200000e+01]>
// CHECK: %[[Y:.*]] = nn.conv %arg0, %[[F]]
// CHECK-NEXT: nn.binary add %[[Y]], %[[B]]
// CHECK-NEXT: return
func.func @afterConv(%x: tensor<1x4x1xf32>) -> tensor<1x4x2xf32> {
  %f = nn.constant dense<[[[1.0]], [[2.0]]]> : tensor<2x1x1xf32>
  %b = nn.constant dense<[1.0, 4.0]> : tensor<2xf32>
  %scale = nn.constant dense<[4.0, 6.0]> : tensor<2xf32>
  %bias = nn.constant dense<[10.0, 20.0]> : tensor<2xf32>
  %mean = nn.constant dense<0.0> : tensor<2xf32>
  %variance = nn.constant dense<3.0> : tensor<2xf32>
  %0 = nn.conv %x, %f {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>} : (tensor<1x4x1xf32>, tensor<2x1x1xf32>) -> tensor<1x4x2xf32>
  %1 = nn.binary add %0, %b : (tensor<1x4x2xf32>, tensor<2xf32>) -> tensor<1x4x2xf32>
  %2 = nn.batch_norm %1, %scale, %bias, %mean, %variance {epsilon = 1.0 : f32} : (tensor<1x4x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x4x2xf32>
  return %2 : tensor<1x4x2xf32>
}

// -----

// CHECK-LABEL: @scaledProduct
// CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[\[}}2.000000e+00, 3.000000e+00], [2.000000e+00, 3.000000e+00]]>
// CHECK: nn.matmul %arg0, %[[W]]
// CHECK-NEXT: return
func.func @scaledProduct(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %w = nn.constant dense<1.0> : tensor<2x2xf32>
  %scale = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %0 = nn.matmul %x, %w : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  %1 = nn.binary mul %0, %scale : (tensor<4x2xf32>, tensor<2xf32>) -> tensor<4x2xf32>
  return %1 : tensor<4x2xf32>
}

// -----

// Before a convolution, if no padding sees the shift.

// CHECK-LABEL: @beforeConv
// CHECK-DAG: %[[F:.*]] = nn.constant dense<{{\[\[\[}}2.000000e+00, 3.000000e+00], [2.000000e+00, 3.000000e+00]]]>
// CHECK-DAG: %[[B:.*]] = nn.constant dense<1.000000e+01> : tensor<1xf32>
// CHECK: %[[Y:.*]] = nn.conv %arg0, %[[F]]
// CHECK-NEXT: nn.binary add %[[Y]], %[[B]]
// CHECK-NEXT: return
func.func @beforeConv(%x: tensor<1x4x2xf32>) -> tensor<1x3x1xf32> {
  %f = nn.constant dense<1.0> : tensor<1x2x2xf32>
  %scale = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %shift = nn.constant dense<[1.0, 4.0]> : tensor<2xf32>
  %0 = nn.binary mul %x, %scale : (tensor<1x4x2xf32>, tensor<2xf32>) -> tensor<1x4x2xf32>
  %1 = nn.binary add %0, %shift : (tensor<1x4x2xf32>, tensor<2xf32>) -> tensor<1x4x2xf32>
  %2 = nn.conv %1, %f {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>} : (tensor<1x4x2xf32>, tensor<1x2x2xf32>) -> tensor<1x3x1xf32>
  return %2 : tensor<1x3x1xf32>
}

// -----

// CHECK-LABEL: @padded
// CHECK: nn.binary mul
// CHECK: nn.binary add
// CHECK: nn.conv
// CHECK-NEXT: return
func.func @padded(%x: tensor<1x4x2xf32>) -> tensor<1x5x1xf32> {
  %f = nn.constant dense<1.0> : tensor<1x2x2xf32>
  %scale = nn.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %shift = nn.constant dense<[1.0, 4.0]> : tensor<2xf32>
  %0 = nn.binary mul %x, %scale : (tensor<1x4x2xf32>, tensor<2xf32>) -> tensor<1x4x2xf32>
  %1 = nn.binary add %0, %shift : (tensor<1x4x2xf32>, tensor<2xf32>) -> tensor<1x4x2xf32>
  %2 = nn.conv %1, %f {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>} : (tensor<1x4x2xf32>, tensor<1x2x2xf32>) -> tensor<1x5x1xf32>
  return %2 : tensor<1x5x1xf32>
}

// -----

// Alone, a batch normalization is a multiplication and an addition.

// CHECK-LABEL: @alone
// CHECK-NOT: nn.batch_norm
// CHECK: %[[M:.*]] = nn.binary mul %arg0
// CHECK: nn.binary add %[[M]]
func.func @alone(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %c = nn.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %0 = nn.batch_norm %x, %c, %c, %c, %c {epsilon = 1.0 : f32} : (tensor<4x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<4x2xf32>
  return %0 : tensor<4x2xf32>
}
