//===- Convolution.cpp - Convolutions by oneDNN ---------------------------===//
//
// An image is cut into parts along its lines, or along its pixels where it has
// one line; a 1x1 convolution sees all images as one line. The first and last
// parts have the padding of that axis: their primitives are others.
//
//===----------------------------------------------------------------------===//
#include "backends/runtime/onednn/Step.h"

using namespace pare::onednn;
using pare::rt::max;
using pare::rt::min;

namespace {

/// One spatial axis.
struct Axis {
  int64_t in, out, kernel, stride, pad, dilation;
  int64_t reach() const { return (kernel - 1) * dilation + 1; }
  /// Padding after the input; negative where its end is not read.
  int64_t after() const { return (out - 1) * stride + reach() - in - pad; }
};

class Convolution : public Step {
public:
  Convolution(const int64_t *dims, const void *const *weights)
      : Step(dims, PARE_ONEDNN_CONV_DIMS, weights) {
    scaleMask = groups() > 1 ? 3 : 1;
    setAxes();
  }

protected:
  bool describe(Kernel &kernel, const_dnnl_memory_desc_t layout,
                int attempt) override;
  Desc describeStored() const override {
    return describeFilter(groups() > 1 ? dnnl_abdec : dnnl_acdb);
  }
  Desc describeResult(const Kernel &kernel) const override;
  Desc describeColumns() const override {
    dnnl_dims_t sizes = {1, outputs(), 1, 1};
    return Desc(4, sizes, dnnl_acdb);
  }
  bool plan() override;

private:
  int64_t channels() const { return dims[PARE_ONEDNN_C]; }
  int64_t outputs() const { return dims[PARE_ONEDNN_O]; }
  int64_t groups() const { return dims[PARE_ONEDNN_GROUPS]; }
  void setAxes();
  Desc describeFilter(dnnl_format_tag_t tag) const;
  Geometry getGeometry(int64_t first, int64_t last) const;
  /// Lines of the input that a part reads.
  int64_t countLines(const Geometry &part) const {
    return (part.size - 1) * cut.stride + cut.reach() - part.begin - part.end;
  }
  int64_t choosePart(int64_t allowed) const;

  int64_t images;
  bool isLine; ///< one line: parts are cut along W
  Axis cut, other;
};

} // namespace

void Convolution::setAxes() {
  auto at = [&](int dim) { return dims[dim]; };
  images = at(PARE_ONEDNN_IMAGES);
  Axis h = {at(PARE_ONEDNN_H),       at(PARE_ONEDNN_OH),
            at(PARE_ONEDNN_KH),      at(PARE_ONEDNN_STRIDE_H),
            at(PARE_ONEDNN_PAD_TOP), at(PARE_ONEDNN_DILATION_H)};
  Axis w = {at(PARE_ONEDNN_W),        at(PARE_ONEDNN_OW),
            at(PARE_ONEDNN_KW),       at(PARE_ONEDNN_STRIDE_W),
            at(PARE_ONEDNN_PAD_LEFT), at(PARE_ONEDNN_DILATION_W)};
  auto isPlain = [](const Axis &axis) {
    return axis.kernel == 1 && axis.stride == 1 && axis.in == axis.out;
  };
  if (isPlain(h) && isPlain(w)) {
    w.in = w.out = images * h.in * w.in;
    h.in = h.out = images = 1;
  }
  isLine = h.in == 1 && h.out == 1;
  cut = isLine ? w : h;
  other = isLine ? h : w;
}

/// The filter as oneDNN orders its axes: [groups] outputs, inputs, H, W.
Desc Convolution::describeFilter(dnnl_format_tag_t tag) const {
  const Axis &h = isLine ? other : cut, &w = isLine ? cut : other;
  dnnl_dims_t sizes;
  int rank = 0;
  if (groups() > 1)
    sizes[rank++] = groups();
  sizes[rank++] = outputs() / groups();
  sizes[rank++] = channels() / groups();
  sizes[rank++] = h.kernel;
  sizes[rank++] = w.kernel;
  return Desc(rank, sizes, tag, weightType());
}

Desc Convolution::describeResult(const Kernel &kernel) const {
  int64_t size = kernel.geometry.size;
  dnnl_dims_t sizes = {1, outputs(), isLine ? other.out : size,
                       isLine ? size : other.out};
  return Desc(4, sizes, dnnl_acdb);
}

/// What output lines [first, last) need of the input.
Geometry Convolution::getGeometry(int64_t first, int64_t last) const {
  int64_t begin = first * cut.stride - cut.pad,
          end = (last - 1) * cut.stride - cut.pad + cut.reach();
  return {last - first, max<int64_t>(0, -begin), max<int64_t>(0, end - cut.in)};
}

bool Convolution::describe(Kernel &kernel, const_dnnl_memory_desc_t layout,
                           int attempt) {
  if (attempt > 0)
    return false;
  const Geometry &geometry = kernel.geometry;
  int64_t lines = countLines(geometry);
  auto order = [&](int64_t alongCut, int64_t alongOther, int64_t out[2]) {
    out[0] = isLine ? alongOther : alongCut;
    out[1] = isLine ? alongCut : alongOther;
  };
  dnnl_dims_t size, strides, dilations, before, after, bias = {outputs()};
  order(lines, other.in, size);
  order(cut.stride, other.stride, strides);
  order(cut.dilation - 1, other.dilation - 1, dilations);
  order(geometry.begin, other.pad, before);
  order(geometry.end, max<int64_t>(0, other.after()), after);
  dnnl_dims_t x = {1, channels(), size[0], size[1]};
  return !dnnl_convolution_forward_primitive_desc_create(
      &kernel.desc, engine, dnnl_forward_inference, dnnl_convolution_direct,
      Desc(4, x, dnnl_acdb, inputType()),
      layout ? layout : describeFilter(dnnl_format_tag_any),
      Step::bias() ? Desc(1, bias, dnnl_a) : dnnl_memory_desc_t(),
      describeResult(kernel), strides, dilations, before, after, attributes);
}

/// Lines of a part: enough pixels for oneDNN's tiles and enough work for a
/// call, which costs microseconds; and several parts for several threads.
int64_t Convolution::choosePart(int64_t allowed) const {
  constexpr int64_t kMinFlops = 2 << 20, kMinPixels = 32;
  int64_t pixels = other.out * cut.out;
  int64_t flops = 2 * outputs() * (channels() / groups()) * cut.kernel *
                  other.kernel * pixels;
  int64_t parts =
      min(min(allowed, cut.out), min(flops / kMinFlops, pixels / kMinPixels));
  parts = max<int64_t>(1, parts);
  int64_t lines = (cut.out + parts - 1) / parts;
  Geometry seen[kMaxKernels];
  int count = 0;
  for (int64_t first = 0; first < cut.out; first += lines) {
    Geometry part = getGeometry(first, min(first + lines, cut.out));
    int i = 0;
    while (i < count && !(seen[i] == part))
      ++i;
    // A part that sees padding alone is no convolution.
    if (i == kMaxKernels || countLines(part) <= 0)
      return cut.out;
    if (i == count)
      seen[count++] = part;
  }
  return lines;
}

bool Convolution::plan() {
  int64_t count = dims[PARE_ONEDNN_IMAGES] * dims[PARE_ONEDNN_PARTS];
  if (!allocateTasks(count))
    return false;
  int64_t lines = choosePart(count / images);
  int64_t inLine = other.in * channels(), outLine = other.out * outputs();
  for (int64_t image = 0, task = 0; image < images; ++image)
    for (int64_t first = 0; first < cut.out; first += lines, ++task) {
      int64_t begin = max<int64_t>(0, first * cut.stride - cut.pad);
      if (!addTask(task, getGeometry(first, min(first + lines, cut.out)),
                   (image * cut.in + begin) * inLine,
                   (image * cut.out + first) * outLine))
        return false;
    }
  return true;
}

extern "C" {

void pare_onednn_conv(void *const *ptrs, const int64_t *dims, int64_t task,
                      void *) {
  runStep(ptrs, dims, PARE_ONEDNN_CONV_DIMS, task);
}

const PareStepState pare_onednn_conv_state = {prepare<Convolution>,
                                              destroyStep};
}
