// What runs an op on memory of the device: a plugin's enqueue, or the kernels' launchers themselves.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "checks.h"
#include "reference.h"

namespace harness {

// A call gets descriptions and pointers in the op's order.
struct Call {
  std::vector<Desc> in, out;
  std::vector<const void *> inputs;
  std::vector<void *> outputs;
  void *workspace;
  int64_t workspace_bytes;
  cudaStream_t stream;
};

class Op {
public:
  virtual ~Op() = default;
  // Bytes of workspace for shapes up to those of the call.
  virtual int64_t workspace(const Call &call) = 0;
  // Whether it was enqueued; else reason() may say more.
  virtual bool run(const Call &call) = 0;
  virtual std::string reason() { return ""; }
};

class Ops {
public:
  virtual ~Ops() = default;
  // Ready to run shapes up to those given; null and a failed check where it was refused.
  virtual std::unique_ptr<Op> scan(const ScanFlags &flags, int64_t groups, const Call &largest) = 0;
  virtual std::unique_ptr<Op> mstb(const MstbFlags &flags, const Call &largest) = 0;
  // Whether a call may be given less workspace than asked for: a plugin is never told how much it gets.
  virtual bool knows_workspace() const = 0;
};

// The numbers of both ops against the reference, with everything around them.
void check_scan(Checks &checks, Ops &ops);
void check_mstb(Checks &checks, Ops &ops);
// One case of them, on random inputs.
void check_scan_case(Checks &checks, Ops &ops, const ScanSizes &sizes, const ScanFlags &flags, Type type);
void check_mstb_case(Checks &checks, Ops &ops, const MstbSizes &sizes, const MstbFlags &flags, Type type);
// The same inputs through all of `ways`.
void check_mstb_ways(Checks &checks, const std::vector<std::unique_ptr<Ops>> &ways, const MstbSizes &sizes,
                     const MstbFlags &flags, Type type);
#ifndef MIMAMBA_HOST_KERNELS
void check_large(Checks &checks, Ops &ops);
#endif

} // namespace harness
