// The launchers under C names, for callers that have no C++ at hand (ctypes). Every function returns a Code;
// `message` gets a string that need not be freed. Structs are those of the plans, streams are cudaStream_t.
// Both ops are called alike; the scan asks for no workspace.
#pragma once

#include "mstb_plan.h"
#include "scan_plan.h"

extern "C" {

int32_t mimamba_query_device(int32_t number, mimamba::Device *device, const char **message);
int32_t mimamba_scan_workspace(const mimamba::ScanProblem *problem, const mimamba::Device *device,
                               int64_t *bytes, const char **message);
int32_t mimamba_launch_scan(const mimamba::ScanProblem *problem, const mimamba::Device *device,
                            void *workspace, int64_t workspace_bytes, void *stream, const char **message);
int32_t mimamba_mstb_workspace(const mimamba::MstbProblem *problem, const mimamba::Device *device,
                               int64_t *bytes, const char **message);
int32_t mimamba_launch_mstb(const mimamba::MstbProblem *problem, const mimamba::Device *device,
                            void *workspace, int64_t workspace_bytes, void *stream, const char **message);

} // extern "C"
