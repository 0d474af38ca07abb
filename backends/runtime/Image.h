//===- Image.h - Pictures as model inputs -----------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_IMAGE_H
#define PARE_BACKENDS_RUNTIME_IMAGE_H

#include "backends/runtime/Support.h"

namespace pare::rt {

/// Resizes interleaved 8-bit pixels to width x height and normalises them:
/// channel c of out is (pixel / 255 - mean[c]) / std[c], in info's channel
/// order and layout. With dtype PARE_U8 it is the rounded pixel.
///
/// Bilinear with half-pixel centres and no antialiasing, the convention of
/// OpenCV's INTER_LINEAR and of torch's interpolate(align_corners=False):
/// out(x) samples at (x + 0.5) * inWidth / width - 0.5, clamped to the picture.
void resizeImage(const uint8_t *pixels, int64_t inWidth, int64_t inHeight,
                 const PareImageInfo &info, int64_t width, int64_t height,
                 uint32_t dtype, void *out);

} // namespace pare::rt

#endif
