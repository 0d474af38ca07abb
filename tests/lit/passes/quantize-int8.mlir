// RUN: pare-opt %s -split-input-file -nn-quantize-int8 | FileCheck %s

// Activations are quantized once for all products of them; a table by rows.

// CHECK-DAG: nn.weight @table.codes : tensor<1024x64xi8> {source = "table"}
// CHECK-DAG: nn.weight @table.scales : tensor<1024x1xf32> {source = "table"}
// CHECK-DAG: nn.weight @a.codes : tensor<64x128xi8> {source = "a"}
// CHECK-DAG: nn.weight @a.scales : tensor<128xf32> {source = "a"}
// CHECK-DAG: nn.weight @b.scales : tensor<128x1xf32> {source = "b"}
// CHECK-LABEL: @main
// CHECK: %[[T:.*]] = nn.dequantize %{{.*}} : (tensor<1024x64xi8>, tensor<1024x1xf32>)
// CHECK: %[[X:.*]] = nn.gather %[[T]]
// CHECK-NEXT: %[[CODES:.*]], %[[SCALES:.*]], %[[ZEROS:.*]] = nn.dynamic_quantize asymmetric %[[X]] to i8
// CHECK-NOT: nn.dynamic_quantize
// CHECK: %[[D:.*]] = nn.dequantize %[[CODES]], %[[SCALES]] zero %[[ZEROS]]
// CHECK: nn.matmul %[[D]], %{{.*}} : (tensor<5x64xf32>, tensor<64x128xf32>)
// CHECK: nn.matmul %{{.*}} {transpose_rhs} : (tensor<5x64xf32>, tensor<128x64xf32>)
nn.weight @table : tensor<1024x64xf32>
nn.weight @a : tensor<64x128xf32>
nn.weight @b : tensor<128x64xf32>
func.func @main(%i: tensor<5xi64>) -> (tensor<5x128xf32>, tensor<5x128xf32>) {
  %t = nn.param @table : tensor<1024x64xf32>
  %a = nn.param @a : tensor<64x128xf32>
  %b = nn.param @b : tensor<128x64xf32>
  %x = nn.gather %t, %i {axis = 0 : i64} : (tensor<1024x64xf32>, tensor<5xi64>) -> tensor<5x64xf32>
  %0 = nn.matmul %x, %a : (tensor<5x64xf32>, tensor<64x128xf32>) -> tensor<5x128xf32>
  %1 = nn.matmul %x, %b {transpose_rhs} : (tensor<5x64xf32>, tensor<128x64xf32>) -> tensor<5x128xf32>
  return %0, %1 : tensor<5x128xf32>, tensor<5x128xf32>
}

// -----

// Too small, too narrow, or of an inner dimension that no dot product takes.

// CHECK-LABEL: @main
// CHECK-NOT: quantize
// CHECK: return
nn.weight @small : tensor<64x32xf32>
nn.weight @narrow : tensor<4096x8xf32>
nn.weight @odd : tensor<63x128xf32>
func.func @main(%x: tensor<5x64xf32>, %y: tensor<5x4096xf32>, %z: tensor<5x63xf32>) -> (tensor<5x32xf32>, tensor<5x8xf32>, tensor<5x128xf32>) {
  %a = nn.param @small : tensor<64x32xf32>
  %b = nn.param @narrow : tensor<4096x8xf32>
  %c = nn.param @odd : tensor<63x128xf32>
  %0 = nn.matmul %x, %a : (tensor<5x64xf32>, tensor<64x32xf32>) -> tensor<5x32xf32>
  %1 = nn.matmul %y, %b : (tensor<5x4096xf32>, tensor<4096x8xf32>) -> tensor<5x8xf32>
  %2 = nn.matmul %z, %c : (tensor<5x63xf32>, tensor<63x128xf32>) -> tensor<5x128xf32>
  return %0, %1, %2 : tensor<5x32xf32>, tensor<5x8xf32>, tensor<5x128xf32>
}
