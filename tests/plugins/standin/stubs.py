"""Writes C++ classes that override every pure virtual function of NVIDIA's interfaces with a stop.

The stand-in for libnvinfer derives from them and overrides what the example program uses. The interfaces
grow from release to release, so they are read from the headers at hand.
"""

from __future__ import annotations

import re
from pathlib import Path

CLASSES = {
    "NvInferImpl.h": ("VRuntime", "VCudaEngine", "VExecutionContext"),
    "NvInferRuntimeCommon.h": ("IPluginRegistry",),
}


def stubs(include: Path) -> str:
    out = ['#include "standin.h"', "namespace nvinfer1 {", "using namespace apiv;"]
    for header, names in CLASSES.items():
        text = re.sub(r"//[^\n]*|/\*.*?\*/", "", (include / header).read_text(), flags=re.DOTALL)
        for name in names:
            found = re.search(rf"class {name}\b[^;{{]*\{{(.*?)\n\}};", text, re.DOTALL)
            assert found, f"no class {name} in {header}"
            out.append(f"class {name}Stub : public {name} {{ public:")
            for signature in re.findall(r"virtual\s+([^;{}]*?)\s*=\s*0;", found[1]):
                if "~" not in signature:
                    function = re.search(r"(\w+)\s*\(", signature)
                    assert function
                    out.append(f'  {signature} override {{ standin::unexpected("{name}::{function[1]}"); }}')
            out.append("};")
    return "\n".join([*out, "}", ""])
