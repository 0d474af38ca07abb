//===- Product.cpp - Matrix products by oneDNN ----------------------------===//
//
// The inner product has the fast kernels; where it has none for a shape, the
// matmul primitive reads the weights as they are in the file.
//
//===----------------------------------------------------------------------===//
#include "backends/runtime/onednn/Step.h"

using namespace pare::onednn;

namespace {

class Product : public Step {
public:
  Product(const int64_t *dims, const void *const *weights)
      : Step(dims, PARE_ONEDNN_PRODUCT_DIMS, weights) {}

protected:
  bool describe(Kernel &kernel, const_dnnl_memory_desc_t layout,
                int attempt) override;
  Desc describeStored() const override {
    dnnl_dims_t sizes = {n(), k()};
    return Desc(2, sizes, has(PARE_ONEDNN_TRANSPOSED) ? dnnl_ab : dnnl_ba);
  }
  Desc describeResult(const Kernel &kernel) const override {
    dnnl_dims_t sizes = {kernel.geometry.size, n()};
    return Desc(2, sizes, dnnl_ab);
  }
  Desc describeColumns() const override {
    dnnl_dims_t sizes = {1, n()};
    return Desc(2, sizes, dnnl_ab);
  }
  bool plan() override;

private:
  int64_t n() const { return dims[PARE_ONEDNN_N]; }
  int64_t k() const { return dims[PARE_ONEDNN_K]; }
};

} // namespace

bool Product::describe(Kernel &kernel, const_dnnl_memory_desc_t layout,
                       int attempt) {
  dnnl_dims_t x = {kernel.geometry.size, k()};
  dnnl_dims_t inner = {n(), k()}, plain = {k(), n()};
  dnnl_dims_t innerBias = {n()}, plainBias = {1, n()};
  Desc xDesc(2, x, dnnl_ab), yDesc = describeResult(kernel);
  if (attempt == 0)
    return !dnnl_inner_product_forward_primitive_desc_create(
        &kernel.desc, engine, dnnl_forward_inference, xDesc,
        layout ? layout : Desc(2, inner, dnnl_format_tag_any),
        bias() ? Desc(1, innerBias, dnnl_a) : dnnl_memory_desc_t(), yDesc,
        attributes);
  return !dnnl_matmul_primitive_desc_create(
      &kernel.desc, engine, xDesc,
      Desc(2, plain, has(PARE_ONEDNN_TRANSPOSED) ? dnnl_ba : dnnl_ab),
      bias() ? Desc(2, plainBias, dnnl_ab) : dnnl_memory_desc_t(), yDesc,
      attributes);
}

bool Product::plan() {
  int64_t m = dims[PARE_ONEDNN_M], rows = dims[PARE_ONEDNN_ROWS];
  if (!allocateTasks((m + rows - 1) / rows))
    return false;
  for (int64_t row = 0, task = 0; row < m; row += rows, ++task)
    if (!addTask(task, {pare::rt::min(rows, m - row), 0, 0}, row * k(),
                 row * n()))
      return false;
  return true;
}

extern "C" {

void pare_onednn_product(void *const *ptrs, const int64_t *dims, int64_t task,
                         void *) {
  runStep(ptrs, dims, PARE_ONEDNN_PRODUCT_DIMS, task);
}

const PareStepState pare_onednn_product_state = {prepare<Product>, destroyStep};
}
