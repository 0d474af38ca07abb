//===- Sha256.h - SHA-256 (FIPS 180-4) --------------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_SHA256_H
#define PARE_BACKENDS_RUNTIME_SHA256_H

#include <stdint.h>

namespace pare::rt {

void sha256(const uint8_t *data, uint64_t size, uint8_t digest[32]);

} // namespace pare::rt

#endif
