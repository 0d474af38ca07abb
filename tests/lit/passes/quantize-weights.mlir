// RUN: pare-opt %s -split-input-file -nn-quantize-weights -print-decisions | FileCheck %s

// In pare-opt: products in uint4_g32, tables in int8_g32, to nearest, without
// samples.

// Rows of weights are what products read; columns become rows. A matrix that
// two products read by rows is encoded once.

// CHECK-DAG: nn.weight @[[UP:.*]] : tensor<96x64xf32> {blocks = "uint4_g32", source = "up"}
// CHECK-DAG: nn.weight @[[DOWN:.*]] : tensor<64x96xf32> {blocks = "uint4_g32", nn.transposed, source = "down"}
// CHECK-NOT: nn.weight
// CHECK-LABEL: @main
// CHECK: %[[A:.*]] = nn.param @[[UP]] : tensor<96x64xf32>
// CHECK: %[[H:.*]] = nn.matmul %arg0, %[[A]] {transpose_rhs} : (tensor<5x64xf32>, tensor<96x64xf32>) -> tensor<5x96xf32>
// CHECK: %[[B:.*]] = nn.param @[[DOWN]] : tensor<64x96xf32>
// CHECK: nn.matmul %[[H]], %[[B]] {transpose_rhs} : (tensor<5x96xf32>, tensor<64x96xf32>) -> tensor<5x64xf32>
// CHECK: %[[C:.*]] = nn.param @[[UP]] : tensor<96x64xf32>
// CHECK: nn.matmul %arg1, %[[C]] {transpose_rhs}
// CHECK: // up: uint4_g32, 4.62 bits, 24576 to {{[0-9]+}} bytes, rounded to nearest
// CHECK: // down: uint4_g32, 4.62 bits, 24576 to {{[0-9]+}} bytes, rounded to nearest
nn.weight @up : tensor<96x64xf32>
nn.weight @down : tensor<96x64xf32>
func.func @main(%x: tensor<5x64xf32>, %y: tensor<7x64xf32>) -> (tensor<5x64xf32>, tensor<7x96xf32>) {
  %a = nn.param @up : tensor<96x64xf32>
  %b = nn.param @down : tensor<96x64xf32>
  %c = nn.param @up : tensor<96x64xf32>
  %0 = nn.matmul %x, %a {transpose_rhs} : (tensor<5x64xf32>, tensor<96x64xf32>) -> tensor<5x96xf32>
  %1 = nn.matmul %0, %b : (tensor<5x96xf32>, tensor<96x64xf32>) -> tensor<5x64xf32>
  %2 = nn.matmul %y, %c {transpose_rhs} : (tensor<7x64xf32>, tensor<96x64xf32>) -> tensor<7x96xf32>
  return %1, %2 : tensor<5x64xf32>, tensor<7x96xf32>
}

// -----

// A tied table is a table: lookups and the projection read the same blocks.

// CHECK-DAG: nn.weight @[[T:.*]] : tensor<96x64xf32> {blocks = "int8_g32", source = "embed"}
// CHECK-DAG: nn.weight @[[W:.*]] : tensor<64x64xf32> {blocks = "uint4_g32", source = "w"}
// CHECK-NOT: nn.weight
// CHECK-LABEL: @main
// CHECK: %[[E:.*]] = nn.param @[[T]]
// CHECK: %[[X:.*]] = nn.gather %[[E]], %arg0
// CHECK: %[[V:.*]] = nn.param @[[W]]
// CHECK: %[[Y:.*]] = nn.matmul %[[X]], %[[V]] {transpose_rhs}
// CHECK: %[[F:.*]] = nn.param @[[T]]
// CHECK: nn.matmul %[[Y]], %[[F]] {transpose_rhs} : (tensor<5x64xf32>, tensor<96x64xf32>) -> tensor<5x96xf32>
// CHECK: // embed: int8_g32, 8.50 bits, 24576 to 6528 bytes, rounded to nearest
// CHECK: // w: uint4_g32, 4.62 bits
nn.weight @embed : tensor<96x64xf32>
nn.weight @w : tensor<64x64xf32>
func.func @main(%i: tensor<5xi32>) -> tensor<5x96xf32> {
  %e = nn.param @embed : tensor<96x64xf32>
  %w = nn.param @w : tensor<64x64xf32>
  %x = nn.gather %e, %i {axis = 0 : i64} : (tensor<96x64xf32>, tensor<5xi32>) -> tensor<5x64xf32>
  %0 = nn.matmul %x, %w {transpose_rhs} : (tensor<5x64xf32>, tensor<64x64xf32>) -> tensor<5x64xf32>
  %1 = nn.matmul %0, %e {transpose_rhs} : (tensor<5x64xf32>, tensor<96x64xf32>) -> tensor<5x96xf32>
  return %1 : tensor<5x96xf32>
}

// -----

// The names that a merged weight came from stay with it, and each is listed.

// CHECK: nn.weight @{{.*}} : tensor<128x64xf32> {blocks = "uint4_g32", nn.source_sizes = array<i64: 96, 32>, nn.sources = ["q", "k"], nn.transposed, source = "q"}
// CHECK-LABEL: @main
// CHECK: nn.matmul %arg0, %{{.*}} {transpose_rhs} : (tensor<5x64xf32>, tensor<128x64xf32>) -> tensor<5x128xf32>
// CHECK: // q: uint4_g32, 4.62 bits, 24576 to 3552 bytes
// CHECK: // k: uint4_g32, 4.62 bits, 8192 to 1184 bytes
nn.weight @qk : tensor<64x128xf32> {nn.source_sizes = array<i64: 96, 32>, nn.sources = ["q", "k"], source = "q"}
func.func @main(%x: tensor<5x64xf32>) -> tensor<5x128xf32> {
  %w = nn.param @qk : tensor<64x128xf32>
  %0 = nn.matmul %x, %w : (tensor<5x64xf32>, tensor<64x128xf32>) -> tensor<5x128xf32>
  return %0 : tensor<5x128xf32>
}

// -----

// What has no format stays, with the reason.

// CHECK-LABEL: @main
// CHECK-NOT: blocks
// CHECK: return
// CHECK: // odd: f32, 10080 to 10080 bytes, rows of 63 are no multiples of 32
// CHECK: // both: f32, 16384 to 16384 bytes, is used by rows and by columns
// CHECK: // left: f32, 16384 to 16384 bytes, is not the right-hand matrix of a product
// CHECK: // added: f32, 1280 to 1280 bytes, used by nn.binary
// CHECK: // batch: f32, 32768 to 32768 bytes, is no matrix
// CHECK: // columns: f32, 16384 to 16384 bytes, is not gathered by rows
// CHECK: // nan: f32, 256 to 256 bytes, holds NaN or infinite values
// CHECK-NOT: // vector
nn.weight @odd : tensor<40x63xf32>
nn.weight @both : tensor<64x64xf32>
nn.weight @left : tensor<64x64xf32>
nn.weight @added : tensor<5x64xf32>
nn.weight @batch : tensor<2x64x64xf32>
nn.weight @columns : tensor<64x64xf32>
nn.weight @nan : tensor<2x32xf32> {nn.test_value = dense<0x7FC00000> : tensor<2x32xf32>}
nn.weight @vector : tensor<64xf32>
func.func @main(%x: tensor<5x64xf32>, %o: tensor<5x63xf32>, %y: tensor<2x5x64xf32>, %i: tensor<3xi32>, %n: tensor<5x32xf32>)
    -> (tensor<5x40xf32>, tensor<5x64xf32>, tensor<64x64xf32>, tensor<5x64xf32>, tensor<2x5x64xf32>, tensor<64x3xf32>, tensor<5x2xf32>) {
  %odd = nn.param @odd : tensor<40x63xf32>
  %both = nn.param @both : tensor<64x64xf32>
  %left = nn.param @left : tensor<64x64xf32>
  %added = nn.param @added : tensor<5x64xf32>
  %batch = nn.param @batch : tensor<2x64x64xf32>
  %columns = nn.param @columns : tensor<64x64xf32>
  %nan = nn.param @nan : tensor<2x32xf32>
  %vector = nn.param @vector : tensor<64xf32>
  %0 = nn.matmul %o, %odd {transpose_rhs} : (tensor<5x63xf32>, tensor<40x63xf32>) -> tensor<5x40xf32>
  %1 = nn.matmul %x, %both : (tensor<5x64xf32>, tensor<64x64xf32>) -> tensor<5x64xf32>
  %2 = nn.matmul %1, %both {transpose_rhs} : (tensor<5x64xf32>, tensor<64x64xf32>) -> tensor<5x64xf32>
  %3 = nn.transpose %2 {permutation = array<i64: 1, 0>} : (tensor<5x64xf32>) -> tensor<64x5xf32>
  %4 = nn.matmul %left, %3 : (tensor<64x64xf32>, tensor<64x5xf32>) -> tensor<64x5xf32>
  %5 = nn.binary add %x, %added : (tensor<5x64xf32>, tensor<5x64xf32>) -> tensor<5x64xf32>
  %6 = nn.binary add %5, %vector : (tensor<5x64xf32>, tensor<64xf32>) -> tensor<5x64xf32>
  %7 = nn.matmul %y, %batch : (tensor<2x5x64xf32>, tensor<2x64x64xf32>) -> tensor<2x5x64xf32>
  %8 = nn.gather %columns, %i {axis = 1 : i64} : (tensor<64x64xf32>, tensor<3xi32>) -> tensor<64x3xf32>
  %9 = nn.matmul %n, %nan {transpose_rhs} : (tensor<5x32xf32>, tensor<2x32xf32>) -> tensor<5x2xf32>
  %10 = nn.matmul %4, %x : (tensor<64x5xf32>, tensor<5x64xf32>) -> tensor<64x64xf32>
  return %0, %2, %10, %6, %7, %8, %9 : tensor<5x40xf32>, tensor<5x64xf32>, tensor<64x64xf32>, tensor<5x64xf32>, tensor<2x5x64xf32>, tensor<64x3xf32>, tensor<5x2xf32>
}
