// RUN: pare-opt %s -split-input-file -nn-simplify -nn-recognize | FileCheck %s

// CHECK-LABEL: @gelu
// CHECK: nn.unary gelu %arg0
// CHECK-NEXT: return
func.func @gelu(%x: tensor<2xf32>) -> tensor<2xf32> {
  %root = nn.constant dense<1.41421354> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %0 = nn.binary div %x, %root : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %1 = nn.unary erf %0 : (tensor<2xf32>) -> tensor<2xf32>
  %2 = nn.binary add %one, %1 : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %3 = nn.binary mul %x, %half : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %4 = nn.binary mul %3, %2 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %4 : tensor<2xf32>
}

// -----

// CHECK-LABEL: @geluTanh
// CHECK: nn.unary gelu_tanh %arg0
// CHECK-NEXT: return
func.func @geluTanh(%x: tensor<2xf32>) -> tensor<2xf32> {
  %three = nn.constant dense<3.0> : tensor<f32>
  %a = nn.constant dense<0.044715> : tensor<f32>
  %b = nn.constant dense<0.797884583> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %0 = nn.binary pow %x, %three : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %1 = nn.binary mul %0, %a : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %2 = nn.binary add %x, %1 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %3 = nn.binary mul %2, %b : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %4 = nn.unary tanh %3 : (tensor<2xf32>) -> tensor<2xf32>
  %5 = nn.binary add %4, %one : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %6 = nn.binary mul %5, %half : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %7 = nn.binary mul %x, %6 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %7 : tensor<2xf32>
}

// -----

// CHECK-LABEL: @hardSwish
// CHECK: nn.unary hard_swish %arg0
// CHECK-NEXT: return
func.func @hardSwish(%x: tensor<2xf32>) -> tensor<2xf32> {
  %three = nn.constant dense<3.0> : tensor<f32>
  %six = nn.constant dense<6.0> : tensor<f32>
  %0 = nn.binary add %x, %three : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %1 = nn.unary clip %0 {alpha = 0.0 : f32, beta = 6.0 : f32} : (tensor<2xf32>) -> tensor<2xf32>
  %2 = nn.binary mul %x, %1 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %3 = nn.binary div %2, %six : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  return %3 : tensor<2xf32>
}

// -----

// A clip elsewhere is another function.

// CHECK-LABEL: @notHardSwish
// CHECK-NOT: hard_swish
// CHECK: return
func.func @notHardSwish(%x: tensor<2xf32>) -> tensor<2xf32> {
  %three = nn.constant dense<3.0> : tensor<f32>
  %0 = nn.binary add %x, %three : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %1 = nn.unary clip %0 {alpha = 0.0 : f32, beta = 5.0 : f32} : (tensor<2xf32>) -> tensor<2xf32>
  %2 = nn.binary mul %x, %1 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %2 : tensor<2xf32>
}

// -----

// CHECK-LABEL: @silu
// CHECK: nn.unary silu %arg0
// CHECK-NEXT: return
func.func @silu(%x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = nn.unary sigmoid %x : (tensor<2xf32>) -> tensor<2xf32>
  %1 = nn.binary mul %x, %0 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %1 : tensor<2xf32>
}

// -----

// CHECK-LABEL: @layerNorm
// CHECK: nn.layer_norm %arg0 scale %{{.*}} bias %{{.*}} {epsilon = 9.99999974E-6 : f32}
// CHECK-NEXT: return
nn.weight @scale : tensor<8xf32>
nn.weight @bias : tensor<8xf32>
func.func @layerNorm(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %scale = nn.param @scale : tensor<8xf32>
  %bias = nn.param @bias : tensor<8xf32>
  %two = nn.constant dense<2.0> : tensor<f32>
  %epsilon = nn.constant dense<1.0e-5> : tensor<f32>
  %0 = nn.reduce mean %x {axes = array<i64: 1>, keep_dims} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %1 = nn.binary sub %x, %0 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %2 = nn.binary pow %1, %two : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %3 = nn.reduce mean %2 {axes = array<i64: 1>, keep_dims} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %4 = nn.binary add %3, %epsilon : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %5 = nn.unary sqrt %4 : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %6 = nn.binary div %1, %5 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %7 = nn.binary mul %6, %scale : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  %8 = nn.binary add %7, %bias : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  return %8 : tensor<2x8xf32>
}

// -----

// The variance as mean(x²) - mean(x)², the axis dropped and put back.

// CHECK-LABEL: @layerNormOfMoments
// CHECK: nn.layer_norm %arg0 scale %{{.*}} {epsilon
// CHECK-NEXT: return
nn.weight @scale : tensor<1x8xf32>
func.func @layerNormOfMoments(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %scale = nn.param @scale : tensor<1x8xf32>
  %zero = nn.constant dense<0.0> : tensor<f32>
  %epsilon = nn.constant dense<1.0e-6> : tensor<f32>
  %0 = nn.reduce mean %x {axes = array<i64: 1>} : (tensor<2x8xf32>) -> tensor<2xf32>
  %1 = nn.binary mul %x, %x : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %2 = nn.reduce mean %1 {axes = array<i64: 1>} : (tensor<2x8xf32>) -> tensor<2xf32>
  %3 = nn.binary mul %0, %0 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %4 = nn.binary sub %2, %3 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %5 = nn.binary max %zero, %4 : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %6 = nn.reshape %5 : (tensor<2xf32>) -> tensor<2x1xf32>
  %7 = nn.binary add %6, %epsilon : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %8 = nn.unary sqrt %7 : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %9 = nn.unary reciprocal %8 : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %10 = nn.binary mul %9, %scale : (tensor<2x1xf32>, tensor<1x8xf32>) -> tensor<2x8xf32>
  %11 = nn.reshape %0 : (tensor<2xf32>) -> tensor<2x1xf32>
  %12 = nn.binary sub %x, %11 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %13 = nn.binary mul %12, %10 : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  return %13 : tensor<2x8xf32>
}

// -----

// CHECK-LABEL: @rmsNorm
// CHECK: nn.rms_norm %arg0 {epsilon
// CHECK-NEXT: return
func.func @rmsNorm(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %epsilon = nn.constant dense<1.0e-5> : tensor<f32>
  %0 = nn.binary mul %x, %x : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %1 = nn.reduce mean %0 {axes = array<i64: 1>, keep_dims} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %2 = nn.binary add %1, %epsilon : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %3 = nn.unary rsqrt %2 : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %4 = nn.binary mul %x, %3 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  return %4 : tensor<2x8xf32>
}

// -----

// Over the first axis it is not the dialect's layer normalization.

// CHECK-LABEL: @otherAxis
// CHECK-NOT: nn.rms_norm
// CHECK: return
func.func @otherAxis(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %epsilon = nn.constant dense<1.0e-5> : tensor<f32>
  %0 = nn.binary mul %x, %x : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %1 = nn.reduce mean %0 {axes = array<i64: 0>, keep_dims} : (tensor<2x8xf32>) -> tensor<1x8xf32>
  %2 = nn.binary add %1, %epsilon : (tensor<1x8xf32>, tensor<f32>) -> tensor<1x8xf32>
  %3 = nn.unary rsqrt %2 : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %4 = nn.binary mul %x, %3 : (tensor<2x8xf32>, tensor<1x8xf32>) -> tensor<2x8xf32>
  return %4 : tensor<2x8xf32>
}

// -----

// CHECK-LABEL: @softmax
// CHECK: nn.softmax %arg0 {axis = 1 : i64}
// CHECK-NEXT: return
func.func @softmax(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %0 = nn.reduce max %x {axes = array<i64: 1>, keep_dims} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %1 = nn.binary sub %x, %0 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %2 = nn.unary exp %1 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %3 = nn.reduce sum %2 {axes = array<i64: 1>} : (tensor<2x8xf32>) -> tensor<2xf32>
  %4 = nn.reshape %3 : (tensor<2xf32>) -> tensor<2x1xf32>
  %5 = nn.binary div %2, %4 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  return %5 : tensor<2x8xf32>
}

// -----

// Scales on both factors, a mask by selection.

// CHECK-LABEL: @attention
// CHECK-SAME: (%[[Q:.*]]: tensor<2x9x4x6xf32>, %[[K:.*]]: tensor<2x9x4x6xf32>, %[[V:.*]]: tensor<2x9x4x6xf32>, %[[M:.*]]: tensor<1x1x9x9xi1>)
// CHECK: %[[MASK:.*]] = nn.select %[[M]]
// CHECK: nn.attention %[[Q]], %[[K]], %[[V]] mask %[[MASK]] {scale = 2.500000e-01 : f32}
// CHECK-NEXT: return
func.func @attention(%q: tensor<2x9x4x6xf32>, %k: tensor<2x9x4x6xf32>, %v: tensor<2x9x4x6xf32>, %m: tensor<1x1x9x9xi1>) -> tensor<2x9x4x6xf32> {
  %half = nn.constant dense<0.5> : tensor<f32>
  %low = nn.constant dense<-3.0e38> : tensor<f32>
  %0 = nn.transpose %q {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x9x4x6xf32>) -> tensor<2x4x9x6xf32>
  %1 = nn.transpose %k {permutation = array<i64: 0, 2, 3, 1>} : (tensor<2x9x4x6xf32>) -> tensor<2x4x6x9xf32>
  %2 = nn.transpose %v {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x9x4x6xf32>) -> tensor<2x4x9x6xf32>
  %3 = nn.binary mul %0, %half : (tensor<2x4x9x6xf32>, tensor<f32>) -> tensor<2x4x9x6xf32>
  %4 = nn.binary mul %1, %half : (tensor<2x4x6x9xf32>, tensor<f32>) -> tensor<2x4x6x9xf32>
  %5 = nn.matmul %3, %4 : (tensor<2x4x9x6xf32>, tensor<2x4x6x9xf32>) -> tensor<2x4x9x9xf32>
  %6 = nn.select %m, %5, %low : (tensor<1x1x9x9xi1>, tensor<2x4x9x9xf32>, tensor<f32>) -> tensor<2x4x9x9xf32>
  %7 = nn.softmax %6 {axis = 3 : i64} : (tensor<2x4x9x9xf32>) -> tensor<2x4x9x9xf32>
  %8 = nn.matmul %7, %2 : (tensor<2x4x9x9xf32>, tensor<2x4x9x6xf32>) -> tensor<2x4x9x6xf32>
  %9 = nn.transpose %8 {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x4x9x6xf32>) -> tensor<2x9x4x6xf32>
  return %9 : tensor<2x9x4x6xf32>
}

// -----

// Heads merged into the batch.

// CHECK-LABEL: @threeAxes
// CHECK: nn.attention %{{.*}} {scale = 1.000000e+00 : f32} : (tensor<8x9x1x6xf32>, tensor<8x9x1x6xf32>, tensor<8x9x1x6xf32>) -> tensor<8x9x1x6xf32>
func.func @threeAxes(%q: tensor<8x9x6xf32>, %k: tensor<8x9x6xf32>, %v: tensor<8x9x6xf32>) -> tensor<8x9x6xf32> {
  %0 = nn.matmul %q, %k {transpose_rhs} : (tensor<8x9x6xf32>, tensor<8x9x6xf32>) -> tensor<8x9x9xf32>
  %1 = nn.softmax %0 {axis = 2 : i64} : (tensor<8x9x9xf32>) -> tensor<8x9x9xf32>
  %2 = nn.matmul %1, %v : (tensor<8x9x9xf32>, tensor<8x9x6xf32>) -> tensor<8x9x6xf32>
  return %2 : tensor<8x9x6xf32>
}

// -----

// Scores that something else needs must be computed.

// CHECK-LABEL: @scoresUsed
// CHECK-NOT: nn.attention
// CHECK: return
func.func @scoresUsed(%q: tensor<8x9x6xf32>, %v: tensor<8x9x6xf32>) -> (tensor<8x9x6xf32>, tensor<8x9x9xf32>) {
  %0 = nn.matmul %q, %q {transpose_rhs} : (tensor<8x9x6xf32>, tensor<8x9x6xf32>) -> tensor<8x9x9xf32>
  %1 = nn.softmax %0 {axis = 2 : i64} : (tensor<8x9x9xf32>) -> tensor<8x9x9xf32>
  %2 = nn.matmul %1, %v : (tensor<8x9x9xf32>, tensor<8x9x6xf32>) -> tensor<8x9x6xf32>
  return %2, %1 : tensor<8x9x6xf32>, tensor<8x9x9xf32>
}
