// The kernels' bodies on host memory, every block and every thread of it in turn: for tests. C names for
// ctypes. Not a CPU implementation to run a model on: it is slow and meant to be.
#pragma once

#include "body.h"
#include "mstb_plan.h"
#include "scan_plan.h"

extern "C" {

int32_t mimamba_scan_workspace(const mimamba::ScanProblem *problem, const mimamba::Device *device,
                               int64_t *bytes, const char **message);
// `kernels` gets the number of launches.
int32_t mimamba_scan(const mimamba::ScanProblem *problem, const mimamba::Device *device, void *workspace,
                     int64_t workspace_bytes, mimamba::Order order, int32_t *kernels, const char **message);
int32_t mimamba_mstb_workspace(const mimamba::MstbProblem *problem, const mimamba::Device *device,
                               int64_t *bytes, const char **message);
int32_t mimamba_mstb(const mimamba::MstbProblem *problem, const mimamba::Device *device, void *workspace,
                     int64_t workspace_bytes, mimamba::Order order, int32_t *kernels, const char **message);
void mimamba_round(int32_t type, const float *from, void *to, int64_t count);

} // extern "C"
