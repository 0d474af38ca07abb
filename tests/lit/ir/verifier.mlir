// RUN: pare-opt %s -split-input-file -verify-diagnostics

func.func @main(%x: tensor<4x8xf32>, %w: tensor<7x8xf32>) -> tensor<4x8xf32> {
  // expected-error @+2 {{nn.matmul: inner dimensions differ: tensor<4x8xf32> and tensor<7x8xf32>}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.matmul %x, %w : (tensor<4x8xf32>, tensor<7x8xf32>) -> tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// -----

func.func @main(%x: tensor<4x8xf32>, %y: tensor<3x8xf32>) -> tensor<4x8xf32> {
  // expected-error @+2 {{nn.binary: shapes tensor<4x8xf32> and tensor<3x8xf32> do not broadcast}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.binary add %x, %y : (tensor<4x8xf32>, tensor<3x8xf32>) -> tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// -----

func.func @main(%x: tensor<1x4x4x8xf32>, %f: tensor<16x3x3x7xf32>) -> tensor<1x2x2x16xf32> {
  // expected-error @+2 {{nn.conv: filter tensor<16x3x3x7xf32> with 1 groups does not fit input tensor<1x4x4x8xf32>}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.conv %x, %f {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x4x8xf32>, tensor<16x3x3x7xf32>) -> tensor<1x2x2x16xf32>
  return %0 : tensor<1x2x2x16xf32>
}

// -----

func.func @main(%x: tensor<1x4x4x8xf32>) -> tensor<1x1x1x8xf32> {
  // expected-error @+2 {{nn.pool: the window is larger than the padded input tensor<1x4x4x8xf32>}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.pool max %x {kernel = array<i64: 5, 5>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x4x8xf32>) -> tensor<1x1x1x8xf32>
  return %0 : tensor<1x1x1x8xf32>
}

// -----

func.func @main(%x: tensor<4x8xf32>) -> tensor<5x8xf32> {
  // expected-error @+1 {{'nn.reshape' op changes the number of elements: 'tensor<4x8xf32>' to 'tensor<5x8xf32>'}}
  %0 = nn.reshape %x : (tensor<4x8xf32>) -> tensor<5x8xf32>
  return %0 : tensor<5x8xf32>
}

// -----

func.func @main(%x: tensor<4x8xf32>) -> tensor<4x4xf32> {
  // expected-error @+1 {{'nn.slice' op has a step of zero}}
  %0 = nn.slice %x {starts = affine_map<() -> (0, 0)>, steps = array<i64: 1, 0>} : (tensor<4x8xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}

// -----

func.func @main(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  // expected-error @+2 {{nn.transpose: not a permutation of the axes of tensor<4x8xf32>}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.transpose %x {permutation = array<i64: 1, 1>} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// -----

func.func @main() -> tensor<4xf32> {
  // expected-error @+1 {{'nn.param' op refers to weight 'w', which the module does not have}}
  %0 = nn.param @w : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

nn.weight @w : tensor<8xf32>
func.func @main() -> tensor<4xf32> {
  // expected-error @+1 {{'nn.param' op has type 'tensor<4xf32>' but weight 'w' has 'tensor<8xf32>'}}
  %0 = nn.param @w : tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

func.func @main(%q: tensor<1x4x3x8xf32>, %k: tensor<1x4x2x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error @+2 {{nn.attention: query tensor<1x4x3x8xf32>, key tensor<1x4x2x8xf32> and value tensor<1x4x2x8xf32> do not fit together}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.attention %q, %k, %k {scale = 1.0 : f32} : (tensor<1x4x3x8xf32>, tensor<1x4x2x8xf32>, tensor<1x4x2x8xf32>) -> tensor<1x4x3x8xf32>
  return %0 : tensor<1x4x3x8xf32>
}

// -----

func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{'nn.fused' op must yield values of its result types}}
  %0 = nn.fused "identity" (%x) : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%a: tensor<4xf32>):
    %b = nn.cast %a to i32 : (tensor<4xf32>) -> tensor<4xi32>
    nn.yield %b : tensor<4xi32>
  }
  return %0 : tensor<4xf32>
}

// -----

func.func @main(%x: tensor<4x40xf32>) -> tensor<4x40xi8> {
  // expected-error @+2 {{nn.dynamic_quantize: groups of 32 do not divide the last axis of tensor<4x40xf32>}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.dynamic_quantize %x to i8 {group = 32 : i64} : (tensor<4x40xf32>) -> (tensor<4x40xi8>, tensor<4x1xf32>)
  return %0 : tensor<4x40xi8>
}

// -----

func.func @main(%x: tensor<4x64xi8>, %s: tensor<4x3xf32>) -> tensor<4x64xf32> {
  // expected-error @+2 {{nn.dequantize: shapes tensor<4x64xi8> and tensor<4x3xf32> do not broadcast}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.dequantize %x, %s : (tensor<4x64xi8>, tensor<4x3xf32>) -> tensor<4x64xf32>
  return %0 : tensor<4x64xf32>
}

// -----

// expected-error @+1 {{'nn.weight' op has blocks, so its type must be f32 of known shape}}
nn.weight @w : tensor<8x32xi8> {blocks = "q8_0"}

// -----

func.func @main(%l: tensor<4x8xf32>) -> tensor<4x9xf32> {
  // expected-error @+2 {{nn.route: a row cannot use 9 of 8 experts}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.route %l {used = 9 : i64} : (tensor<4x8xf32>) -> (tensor<4x9xf32>, tensor<4x9xi32>)
  return %0 : tensor<4x9xf32>
}

// -----

func.func @main(%e: tensor<4x2xi64>) -> tensor<4x2xi64> {
  // expected-error @+2 {{nn.group_by_expert: experts must be i32 [T, used], not tensor<4x2xi64>}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.group_by_expert %e {count = 8 : i64} : (tensor<4x2xi64>) -> (tensor<4x2xi64>, tensor<9xi32>)
  return %0 : tensor<4x2xi64>
}

// -----

func.func @main(%x: tensor<4x3x64xf32>, %w: tensor<8x96x64xf32>, %o: tensor<4x2xi32>, %b: tensor<9xi32>) -> tensor<4x2x96xf32> {
  // expected-error @+2 {{nn.expert_matmul: rows tensor<4x3x64xf32>, weights tensor<8x96x64xf32>, order tensor<4x2xi32> and starts tensor<9xi32> do not fit together}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.expert_matmul %x, %w by %o, %b : (tensor<4x3x64xf32>, tensor<8x96x64xf32>, tensor<4x2xi32>, tensor<9xi32>) -> tensor<4x2x96xf32>
  return %0 : tensor<4x2x96xf32>
}

// -----

func.func @main(%x: tensor<4x64xf32>, %w: tensor<8x96x64xi8>, %o: tensor<4x2xi32>, %b: tensor<9xi32>) -> tensor<4x2x96xf32> {
  // expected-error @+2 {{nn.expert_matmul: rows must be f32, weights floats, order and starts i32}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.expert_matmul %x, %w by %o, %b : (tensor<4x64xf32>, tensor<8x96x64xi8>, tensor<4x2xi32>, tensor<9xi32>) -> tensor<4x2x96xf32>
  return %0 : tensor<4x2x96xf32>
}
