// RUN: pare-opt %s -split-input-file -nn-simplify -nn-recognize -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s

// Tools compare values by name: a rewritten value that is no longer the
// source's must not have its name.

// What is left when a factor is taken out of a product is not the product.

// CHECK-LABEL: @scaledHardSwish
// CHECK: %[[U:.*]] = nn.unary hard_swish %arg0 {{.*}} loc("product.unscaled")
// CHECK: nn.binary mul %[[U]], {{.*}} loc("product")
func.func @scaledHardSwish(%x: tensor<2xf32>) -> tensor<2xf32> {
  %three = nn.constant dense<3.0> : tensor<f32>
  %0 = nn.binary add %x, %three : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %1 = nn.unary clip %0 {alpha = 0.0 : f32, beta = 6.0 : f32} : (tensor<2xf32>) -> tensor<2xf32>
  %2 = nn.binary mul %x, %1 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32> loc("product")
  return %2 : tensor<2xf32>
}

// -----

// CHECK-LABEL: @hardSwish
// CHECK: nn.unary hard_swish %arg0 {{.*}} loc("quotient")
// CHECK-NOT: loc("product
// CHECK: return
func.func @hardSwish(%x: tensor<2xf32>) -> tensor<2xf32> {
  %three = nn.constant dense<3.0> : tensor<f32>
  %six = nn.constant dense<6.0> : tensor<f32>
  %0 = nn.binary add %x, %three : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %1 = nn.unary clip %0 {alpha = 0.0 : f32, beta = 6.0 : f32} : (tensor<2xf32>) -> tensor<2xf32>
  %2 = nn.binary mul %x, %1 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32> loc("product")
  %3 = nn.binary div %2, %six : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32> loc("quotient")
  return %3 : tensor<2xf32>
}

// -----

// CHECK-LABEL: @inverse
// CHECK: %[[I:.*]] = nn.unary rsqrt %arg1 {{.*}} loc("quotient.inverse")
// CHECK: nn.binary mul %arg0, %[[I]] {{.*}} loc("quotient")
func.func @inverse(%x: tensor<2xf32>, %v: tensor<2xf32>) -> tensor<2xf32> {
  %0 = nn.unary sqrt %v : (tensor<2xf32>) -> tensor<2xf32>
  %1 = nn.binary div %x, %0 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32> loc("quotient")
  return %1 : tensor<2xf32>
}
