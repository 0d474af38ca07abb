// RUN: pare-opt %s -split-input-file -verify-diagnostics -nn-quantize-block-products | FileCheck %s

// Activations get codes once for all products of them; a lookup stays.

// CHECK-LABEL: @main
// CHECK: %[[E:.*]] = nn.param @embed
// CHECK: %[[X:.*]] = nn.gather %[[E]]
// CHECK-NEXT: %[[CODES:.*]], %[[SCALES:.*]] = nn.dynamic_quantize %[[X]] to i8 {group = 32 : i64} : (tensor<5x64xf32>) -> (tensor<5x64xi8>, tensor<5x2xf32>)
// CHECK-NOT: nn.dynamic_quantize
// CHECK: %[[D:.*]] = nn.dequantize %[[CODES]], %[[SCALES]] : (tensor<5x64xi8>, tensor<5x2xf32>) -> tensor<5x64xf32>
// CHECK: nn.matmul %[[D]], %{{.*}} {transpose_rhs}
// CHECK: nn.dequantize %[[CODES]], %[[SCALES]]
// CHECK: nn.matmul %{{.*}}, %[[E]] {transpose_rhs}
nn.weight @embed : tensor<96x64xf32> {blocks = "q8_0"}
nn.weight @up : tensor<128x64xf32> {blocks = "q4_1"}
func.func @main(%i: tensor<5xi32>) -> (tensor<5x128xf32>, tensor<5x96xf32>) {
  %e = nn.param @embed : tensor<96x64xf32>
  %u = nn.param @up : tensor<128x64xf32>
  %x = nn.gather %e, %i {axis = 0 : i64} : (tensor<96x64xf32>, tensor<5xi32>) -> tensor<5x64xf32>
  %0 = nn.matmul %x, %u {transpose_rhs} : (tensor<5x64xf32>, tensor<128x64xf32>) -> tensor<5x128xf32>
  %1 = nn.matmul %x, %e {transpose_rhs} : (tensor<5x64xf32>, tensor<96x64xf32>) -> tensor<5x96xf32>
  return %0, %1 : tensor<5x128xf32>, tensor<5x96xf32>
}

// -----

// A product over the other axis, and weights without blocks, stay f32.

// CHECK-LABEL: @main
// CHECK-NOT: quantize
// CHECK: return
nn.weight @a : tensor<64x96xf32> {blocks = "q4_0"}
nn.weight @b : tensor<96x64xf32>
func.func @main(%x: tensor<5x64xf32>) -> tensor<5x64xf32> {
  %a = nn.param @a : tensor<64x96xf32>
  %b = nn.param @b : tensor<96x64xf32>
  %0 = nn.matmul %x, %a : (tensor<5x64xf32>, tensor<64x96xf32>) -> tensor<5x96xf32>
  %1 = nn.matmul %0, %b : (tensor<5x96xf32>, tensor<96x64xf32>) -> tensor<5x64xf32>
  return %1 : tensor<5x64xf32>
}

// -----

// Experts that read the same rows share their codes.

// CHECK-LABEL: @main
// CHECK: %[[CODES:.*]], %[[SCALES:.*]] = nn.dynamic_quantize %arg0 to i8 {group = 32 : i64}
// CHECK-NOT: nn.dynamic_quantize
// CHECK: %[[D:.*]] = nn.dequantize %[[CODES]], %[[SCALES]]
// CHECK: nn.expert_matmul %[[D]], %{{.*}} by %arg1, %arg2
// CHECK: nn.expert_matmul %{{.*}}, %{{.*}} by %arg1, %arg2
nn.weight @gate : tensor<8x96x64xf32> {blocks = "q8_0"}
nn.weight @up : tensor<8x96x64xf32> {blocks = "q4_1"}
func.func @main(%x: tensor<5x64xf32>, %o: tensor<5x2xi32>, %b: tensor<9xi32>) -> (tensor<5x2x96xf32>, tensor<5x2x96xf32>) {
  %g = nn.param @gate : tensor<8x96x64xf32>
  %u = nn.param @up : tensor<8x96x64xf32>
  %0 = nn.expert_matmul %x, %g by %o, %b : (tensor<5x64xf32>, tensor<8x96x64xf32>, tensor<5x2xi32>, tensor<9xi32>) -> tensor<5x2x96xf32>
  %1 = nn.expert_matmul %x, %u by %o, %b : (tensor<5x64xf32>, tensor<8x96x64xf32>, tensor<5x2xi32>, tensor<9xi32>) -> tensor<5x2x96xf32>
  return %0, %1 : tensor<5x2x96xf32>, tensor<5x2x96xf32>
}

// -----

// Formats that pare quantizes to are found by what they are named after.

// CHECK-LABEL: @main
// CHECK: nn.dynamic_quantize
// CHECK: nn.matmul
nn.weight @a : tensor<96x576xf32> {blocks = "uint4_g32_k6x576"}
func.func @main(%x: tensor<5x576xf32>) -> tensor<5x96xf32> {
  %a = nn.param @a : tensor<96x576xf32>
  %0 = nn.matmul %x, %a {transpose_rhs} : (tensor<5x576xf32>, tensor<96x576xf32>) -> tensor<5x96xf32>
  return %0 : tensor<5x96xf32>
}

// -----

// expected-error @+1 {{has blocks of the unknown format 'int9_g32'; there are [u]int<2|3|4|5|6|8>_g<16|}}
nn.weight @a : tensor<96x64xf32> {blocks = "int9_g32"}
func.func @main(%x: tensor<5x64xf32>) -> tensor<5x96xf32> {
  %a = nn.param @a : tensor<96x64xf32>
  %0 = nn.matmul %x, %a {transpose_rhs} : (tensor<5x64xf32>, tensor<96x64xf32>) -> tensor<5x96xf32>
  return %0 : tensor<5x96xf32>
}
