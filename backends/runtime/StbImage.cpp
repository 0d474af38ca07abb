// The one place that compiles stb_image.
#pragma clang diagnostic ignored "-Wunused-function"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_NO_THREAD_LOCALS
#define STBI_ASSERT(x) ((void)0)
#include "stb_image.h"

#include "backends/runtime/StbImage.h"

bool pare::rt::decodedSize(const uint8_t *file, int bytes, int &width,
                           int &height) {
  int channels;
  return stbi_info_from_memory(file, bytes, &width, &height, &channels);
}

uint8_t *pare::rt::decode(const uint8_t *file, int bytes, int channels,
                          int &width, int &height) {
  int inFile;
  return stbi_load_from_memory(file, bytes, &width, &height, &inFile, channels);
}

const char *pare::rt::decodeError() { return stbi_failure_reason(); }

void pare::rt::releaseDecoded(uint8_t *pixels) { stbi_image_free(pixels); }
