//===- StbImage.h - PNG and JPEG decoding by stb_image ----------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_STBIMAGE_H
#define PARE_BACKENDS_RUNTIME_STBIMAGE_H

#include <stdint.h>

namespace pare::rt {

/// Reads the size from the header only.
bool decodedSize(const uint8_t *file, int bytes, int &width, int &height);

/// Interleaved 8-bit pixels with `channels` per pixel; null on damage.
uint8_t *decode(const uint8_t *file, int bytes, int channels, int &width,
                int &height);
void releaseDecoded(uint8_t *pixels);

/// Why the last call failed.
const char *decodeError();

} // namespace pare::rt

#endif
