// RUN: pare-opt %s -nn-prune-structure -prune=ffn=2 -print-weights -print-decisions | FileCheck %s --check-prefix=FFN
// RUN: pare-opt %s -nn-prune-structure -prune=ffn=1,layers=1 -print-decisions | FileCheck %s --check-prefix=LAYERS
// RUN: pare-opt %s -nn-prune-structure -prune=ffn=1,heads=1 -print-decisions | FileCheck %s --check-prefix=HEADS

// Two decoder layers: each with a head of keys for two of queries, three such,
// and a gated feed-forward network of four units, of which the first and the
// last have the smaller weights.

#t = affine_map<()[s0] -> (s0)>
#x = affine_map<()[s0] -> (s0, 4)>
#f = affine_map<()[s0] -> (s0, 12)>
#q = affine_map<()[s0] -> (s0, 6, 2)>
#h = affine_map<()[s0] -> (s0, 6)>
#k = affine_map<()[s0] -> (s0, 3, 2)>

// FFN-DAG: nn.weight @gate.pruned : tensor<2x4xf32> {nn.test_value = dense<{{\[}}[5.000000e+00, 5.000000e+00, 5.000000e+00, 5.000000e+00], [6.000000e+00, 6.000000e+00, 6.000000e+00, 6.000000e+00]]>
// FFN-DAG: nn.weight @down.pruned : tensor<4x2xf32>
// FFN: %[[GATE:.*]] = nn.param @gate.pruned
// FFN: nn.matmul {{.*}}, %[[GATE]] {transpose_rhs}
// FFN: nn.binary mul {{.*}} -> tensor<?x2xf32
// FFN: nn.matmul {{.*}}tensor<4x2xf32>) -> tensor<?x4xf32
// FFN: // ffn of gate: 4 to 2 by weight norms

// The second layer, the last, stays. Weights of both are the same.
// LAYERS-NOT: nn.cache @cache.0
// LAYERS: nn.cache @cache.1 {{.*}}heads = 3
// LAYERS: nn.cached_attention @cache.1
// LAYERS-NOT: nn.cached_attention
// LAYERS: // layers of layer 0: 1 to 0 by depth

// HEADS: nn.cache @cache.0 {{.*}}heads = 2
// HEADS: nn.weight @query.pruned : tensor<8x4xf32>
// HEADS: nn.weight @key.pruned : tensor<4x4xf32>
// HEADS: nn.weight @output.pruned : tensor<4x8xf32>
// HEADS: nn.cached_attention @cache.0{{.*}} -> tensor<?x4x2xf32
// HEADS: // heads of query: 3 to 2 by weight norms
nn.weight @table : tensor<9x4xf32>
nn.weight @query : tensor<12x4xf32>
nn.weight @key : tensor<6x4xf32>
nn.weight @value : tensor<6x4xf32>
nn.weight @output : tensor<4x12xf32>
nn.weight @gate : tensor<4x4xf32> {nn.test_value = dense<[[1.0, 1.0, 1.0, 1.0], [5.0, 5.0, 5.0, 5.0], [6.0, 6.0, 6.0, 6.0], [1.0, 1.0, 1.0, 1.0]]> : tensor<4x4xf32>}
nn.weight @up : tensor<4x4xf32> {nn.test_value = dense<1.0> : tensor<4x4xf32>}
nn.weight @down : tensor<4x4xf32> {nn.test_value = dense<1.0> : tensor<4x4xf32>}
nn.cache @cache.0 {heads = 3 : i64, head_dim = 2 : i64, capacity = 16 : i64, type = f32}
nn.cache @cache.1 {heads = 3 : i64, head_dim = 2 : i64, capacity = 16 : i64, type = f32}
func.func @main(%tokens: tensor<?xi32, #t>, %positions: tensor<?xi32, #t>, %sequences: tensor<?xi32, #t>) -> tensor<?x4xf32, #x>
    attributes {nn.dim_names = ["tokens"], nn.dim_min = array<i64: 1>, nn.dim_max = array<i64: 8>} {
  %table = nn.param @table : tensor<9x4xf32>
  %wq = nn.param @query : tensor<12x4xf32>
  %wk = nn.param @key : tensor<6x4xf32>
  %wv = nn.param @value : tensor<6x4xf32>
  %wo = nn.param @output : tensor<4x12xf32>
  %wg = nn.param @gate : tensor<4x4xf32>
  %wu = nn.param @up : tensor<4x4xf32>
  %wd = nn.param @down : tensor<4x4xf32>
  %x = nn.gather %table, %tokens {axis = 0 : i64} : (tensor<9x4xf32>, tensor<?xi32, #t>) -> tensor<?x4xf32, #x>
  %n0 = nn.rms_norm %x {epsilon = 1.0e-05 : f32} : (tensor<?x4xf32, #x>) -> tensor<?x4xf32, #x>
  %q0 = nn.matmul %n0, %wq {transpose_rhs} : (tensor<?x4xf32, #x>, tensor<12x4xf32>) -> tensor<?x12xf32, #f>
  %k0 = nn.matmul %n0, %wk {transpose_rhs} : (tensor<?x4xf32, #x>, tensor<6x4xf32>) -> tensor<?x6xf32, #h>
  %v0 = nn.matmul %n0, %wv {transpose_rhs} : (tensor<?x4xf32, #x>, tensor<6x4xf32>) -> tensor<?x6xf32, #h>
  %q1 = nn.reshape %q0 : (tensor<?x12xf32, #f>) -> tensor<?x6x2xf32, #q>
  %k1 = nn.reshape %k0 : (tensor<?x6xf32, #h>) -> tensor<?x3x2xf32, #k>
  %v1 = nn.reshape %v0 : (tensor<?x6xf32, #h>) -> tensor<?x3x2xf32, #k>
  nn.cache_append @cache.0, %k1, %v1 at %positions of %sequences : tensor<?x3x2xf32, #k>, tensor<?x3x2xf32, #k>, tensor<?xi32, #t>, tensor<?xi32, #t>
  %a0 = nn.cached_attention @cache.0, %q1 at %positions of %sequences {scale = 0.5 : f32} : (tensor<?x6x2xf32, #q>, tensor<?xi32, #t>, tensor<?xi32, #t>) -> tensor<?x6x2xf32, #q>
  %a1 = nn.reshape %a0 : (tensor<?x6x2xf32, #q>) -> tensor<?x12xf32, #f>
  %a2 = nn.matmul %a1, %wo {transpose_rhs} : (tensor<?x12xf32, #f>, tensor<4x12xf32>) -> tensor<?x4xf32, #x>
  %x1 = nn.binary add %x, %a2 : (tensor<?x4xf32, #x>, tensor<?x4xf32, #x>) -> tensor<?x4xf32, #x>
  %n1 = nn.rms_norm %x1 {epsilon = 1.0e-05 : f32} : (tensor<?x4xf32, #x>) -> tensor<?x4xf32, #x>
  %g0 = nn.matmul %n1, %wg {transpose_rhs} : (tensor<?x4xf32, #x>, tensor<4x4xf32>) -> tensor<?x4xf32, #x>
  %g1 = nn.unary silu %g0 : (tensor<?x4xf32, #x>) -> tensor<?x4xf32, #x>
  %u0 = nn.matmul %n1, %wu {transpose_rhs} : (tensor<?x4xf32, #x>, tensor<4x4xf32>) -> tensor<?x4xf32, #x>
  %m0 = nn.binary mul %g1, %u0 : (tensor<?x4xf32, #x>, tensor<?x4xf32, #x>) -> tensor<?x4xf32, #x>
  %d0 = nn.matmul %m0, %wd {transpose_rhs} : (tensor<?x4xf32, #x>, tensor<4x4xf32>) -> tensor<?x4xf32, #x>
  %x2 = nn.binary add %x1, %d0 : (tensor<?x4xf32, #x>, tensor<?x4xf32, #x>) -> tensor<?x4xf32, #x>
  %n2 = nn.rms_norm %x2 {epsilon = 1.0e-05 : f32} : (tensor<?x4xf32, #x>) -> tensor<?x4xf32, #x>
  %q2 = nn.matmul %n2, %wq {transpose_rhs} : (tensor<?x4xf32, #x>, tensor<12x4xf32>) -> tensor<?x12xf32, #f>
  %k2 = nn.matmul %n2, %wk {transpose_rhs} : (tensor<?x4xf32, #x>, tensor<6x4xf32>) -> tensor<?x6xf32, #h>
  %v2 = nn.matmul %n2, %wv {transpose_rhs} : (tensor<?x4xf32, #x>, tensor<6x4xf32>) -> tensor<?x6xf32, #h>
  %q3 = nn.reshape %q2 : (tensor<?x12xf32, #f>) -> tensor<?x6x2xf32, #q>
  %k3 = nn.reshape %k2 : (tensor<?x6xf32, #h>) -> tensor<?x3x2xf32, #k>
  %v3 = nn.reshape %v2 : (tensor<?x6xf32, #h>) -> tensor<?x3x2xf32, #k>
  nn.cache_append @cache.1, %k3, %v3 at %positions of %sequences : tensor<?x3x2xf32, #k>, tensor<?x3x2xf32, #k>, tensor<?xi32, #t>, tensor<?xi32, #t>
  %a3 = nn.cached_attention @cache.1, %q3 at %positions of %sequences {scale = 0.5 : f32} : (tensor<?x6x2xf32, #q>, tensor<?xi32, #t>, tensor<?xi32, #t>) -> tensor<?x6x2xf32, #q>
  %a4 = nn.reshape %a3 : (tensor<?x6x2xf32, #q>) -> tensor<?x12xf32, #f>
  %a5 = nn.matmul %a4, %wo {transpose_rhs} : (tensor<?x12xf32, #f>, tensor<4x12xf32>) -> tensor<?x4xf32, #x>
  %x3 = nn.binary add %x2, %a5 : (tensor<?x4xf32, #x>, tensor<?x4xf32, #x>) -> tensor<?x4xf32, #x>
  %n3 = nn.rms_norm %x3 {epsilon = 1.0e-05 : f32} : (tensor<?x4xf32, #x>) -> tensor<?x4xf32, #x>
  %g2 = nn.matmul %n3, %wg {transpose_rhs} : (tensor<?x4xf32, #x>, tensor<4x4xf32>) -> tensor<?x4xf32, #x>
  %g3 = nn.unary silu %g2 : (tensor<?x4xf32, #x>) -> tensor<?x4xf32, #x>
  %u1 = nn.matmul %n3, %wu {transpose_rhs} : (tensor<?x4xf32, #x>, tensor<4x4xf32>) -> tensor<?x4xf32, #x>
  %m1 = nn.binary mul %g3, %u1 : (tensor<?x4xf32, #x>, tensor<?x4xf32, #x>) -> tensor<?x4xf32, #x>
  %d1 = nn.matmul %m1, %wd {transpose_rhs} : (tensor<?x4xf32, #x>, tensor<4x4xf32>) -> tensor<?x4xf32, #x>
  %x4 = nn.binary add %x3, %d1 : (tensor<?x4xf32, #x>, tensor<?x4xf32, #x>) -> tensor<?x4xf32, #x>
  return %x4 : tensor<?x4xf32, #x>
}
