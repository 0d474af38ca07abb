//===- Experts.h - Routing rows to experts ----------------------*- C++ -*-===//
//
// nn.route and nn.group_by_expert; the products are BlockGemm.h's.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_CPU_KERNELS_EXPERTS_H
#define PARE_BACKENDS_CPU_KERNELS_EXPERTS_H

#include "backends/cpu/kernels/Strided.h"

namespace pare::cpu {

/// The `used` largest of each row's logits and their softmax, over them alone
/// (`normalize`) or over all. NaN is never chosen; where nothing else is left,
/// expert 0 is.
struct RouteSpec {
  Extent rows;
  int64_t experts = 0, used = 0;
  bool normalize = false;
  unsigned ptrLogits = 0;  ///< f32 [rows, experts]
  unsigned ptrShares = 1;  ///< f32 [rows, used]
  unsigned ptrExperts = 2; ///< i32 [rows, used]
};

Grid routeGrid(const RouteSpec &spec);
int64_t routeScratchBytes(const RouteSpec &spec);
void emitRoute(KernelBuilder &b, const RouteSpec &spec);

/// A counting sort of slots by their experts, in one task. Numbers of experts
/// are clamped.
struct GroupByExpertSpec {
  Extent slots;
  int64_t experts = 0;
  unsigned ptrExperts = 0; ///< i32 [slots]
  unsigned ptrOrder = 1;   ///< i32 [slots]
  unsigned ptrStarts = 2;  ///< i32 [experts + 1]
};

int64_t groupByExpertScratchBytes(const GroupByExpertSpec &spec);
void emitGroupByExpert(KernelBuilder &b, const GroupByExpertSpec &spec);

} // namespace pare::cpu

#endif
