"""The model of the kernels' cycles: its parts on snippets computed by hand, then our kernels held to it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.kernel_cycles import sass, tables
from benchmarks.kernel_cycles.cases import MstbCase, ScanCase, mstb_problem, scan_problem
from benchmarks.kernel_cycles.launches import Library, build_cubins, build_library, find
from benchmarks.kernel_cycles.machine import DEVICES, MACHINES, Device, Machine, blocks_at_once, cycles
from benchmarks.kernel_cycles.measure import extrapolated, hot_loops, measure, short_name
from benchmarks.kernel_cycles.memory import Buffers, sectors, wavefronts
from benchmarks.kernel_cycles.operations import Launch
from benchmarks.kernel_cycles.sass import Instruction, Kernel, parse
from benchmarks.kernel_cycles.schedule import unguarded, waits_for_loads
from benchmarks.kernel_cycles.verify import mstb_error, scan_error
from benchmarks.kernel_cycles.warp import Program, run_block
from mimamba_edge.errors import DependencyError, MimambaError
from mimamba_edge.plugins import KERNELS

PRINTED = """
	.section	.nv.info,"",@"SHT_CUDA_INFO"
	//----- nvinfo : EIATTR_REGCOUNT
        /*0000*/ 	.byte	0x04, 0x2f
        /*0002*/ 	.short	(.L_2 - .L_1)
        /*0004*/ 	.word	index@(_Z1kPf)
        /*0008*/ 	.word	0x00000018
	.section	.nv.info._Z1kPf,"",@"SHT_CUDA_INFO"
	.sectionflags	@""
	//----- nvinfo : EIATTR_KPARAM_INFO
        /*0008*/ 	.byte	0x04, 0x17
        /*000a*/ 	.short	(.L_22 - .L_21)
        /*000c*/ 	.word	0x00000000
        /*0010*/ 	.short	0x0000
        /*0012*/ 	.short	0x0008
        /*0014*/ 	.byte	0x00, 0xf0, 0xa1, 0x03
	//----- nvinfo : EIATTR_PARAM_CBANK
        /*0058*/ 	.byte	0x04, 0x0a
        /*005a*/ 	.short	(.L_30 - .L_29)
        /*005c*/ 	.word	index@(.nv.constant0._Z1kPf)
        /*0060*/ 	.short	0x0380
        /*0062*/ 	.short	0x00e8
	.section	.text._Z1kPf,"ax",@progbits
_Z1kPf:
        /*0000*/                   LDS.128 R4, [R0.reuse+0x10] ;           /* 0x0000100000047984 */
                                                                           /* 0x000e240000000c00 */
.L_x_0:
        /*0010*/              @!P0 FADD R4, -R5, 1 ;                        /* 0x3f80000005047421 */
                                                                           /* 0x001fca0000000100 */
        /*0020*/                   BRA `(.L_x_0) ;                          /* 0xfffffffc00fc7947 */
                                                                           /* 0x000fc0000383ffff */
"""


def test_machine_code_is_read_with_its_control_bits() -> None:
    (kernel,) = parse(PRINTED).values()
    load, add, jump = kernel.code
    assert (kernel.name, kernel.registers, kernel.base, kernel.parameters) == (
        "_Z1kPf",
        24,
        0x380,
        [(8, 0xE8)],
    )
    assert kernel.labels[".L_x_0"] == 1
    assert (load.name, load.operands, load.guard) == ("LDS.128", ("R4", "[R0+0x10]"), "")
    assert (load.stall, load.write, load.read, load.wait) == (2, 0, 7, 0)
    assert (add.guard, add.stall, add.write, add.wait) == ("!P0", 5, 7, 1)
    assert (jump.operands, jump.stall) == (("`(.L_x_0)",), 0)


def test_without_nvdisasm_the_error_names_the_wheel(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(sass.shutil, "which", lambda name: None)
    monkeypatch.setattr(sass.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sass, "TOOLKIT", tmp_path)
    with pytest.raises(DependencyError, match="nvidia-cuda-nvdisasm"):
        sass.find_nvdisasm()


def _kernel(*lines: str, **labels: int) -> Kernel:
    """A kernel of lines like ``"@P0 FADD R1, R2, R3 | stall 4 write 0 wait 0b1"``."""
    code = []
    for number, line in enumerate(lines):
        text, _, control = line.partition("|")
        words = control.split()
        fields = {name: int(value, 0) for name, value in zip(words[::2], words[1::2], strict=True)}
        guard, _, rest = (
            text.strip().rpartition("@")[2].partition(" ") if text.startswith("@") else ("", "", text)
        )
        name, _, operands = rest.strip().partition(" ")
        parts = tuple(part.strip() for part in operands.split(",") if part.strip())
        code.append(Instruction(16 * number, guard, name, parts, **fields))
    return Kernel("k", code, labels, registers=32, base=0x160)


def _alone(kernel: Kernel, machine: Machine = MACHINES[90], *, warps: int = 1) -> float:
    trace = [(place, 1) for place in range(len(kernel.code))]
    return cycles(kernel, [[trace] * warps], machine)


def test_a_warp_waits_for_stalls_and_scoreboards() -> None:
    # The load's data is there at 29, its consumer is issued then; 29 + 4 + the last instruction's own cycle.
    kernel = _kernel(
        "LDS R1, [R0] | stall 2 write 0", "FADD R2, R1, R1 | stall 4 wait 0b1", "FADD R3, R2, R2"
    )
    assert _alone(kernel) == 29 + 4 + 1
    untouched = _kernel("LDS R1, [R0] | stall 2 write 0", "FADD R2, R4, R4 | stall 4", "FADD R3, R2, R2")
    assert _alone(untouched) == 2 + 4 + 1


def test_warps_of_a_scheduler_share_its_special_functions() -> None:
    kernel = _kernel(*["MUFU.EX2 R1, R0 | stall 1"] * 4)
    assert _alone(kernel) == 3 * 8 + 1
    assert _alone(kernel, warps=4) == 3 * 8 + 1  # one on each scheduler
    assert _alone(kernel, warps=8) == 7 * 8 + 1


def test_passes_through_shared_memory_are_the_multiprocessors() -> None:
    kernel = _kernel("LDS R1, [R0] | stall 1 write 0", "FADD R2, R1, R1 | wait 0b1")
    trace = [(0, 16), (1, 0)]
    assert cycles(kernel, [[trace]], MACHINES[90]) == 16 - 1 + 29 + 1
    assert cycles(kernel, [[trace] * 4], MACHINES[90]) == 64 - 1 + 29 + 1


def test_a_barrier_waits_for_the_last_warp_of_its_block() -> None:
    kernel = _kernel("FADD R1, R1, R1 | stall 15", "BAR.SYNC 0x0 | stall 5", "EXIT")
    early, late = [(1, 0), (2, 0)], [(0, 0), (1, 0), (2, 0)]
    assert cycles(kernel, [[early, late]], MACHINES[90]) == 15 + 5 + MACHINES[90].barrier + 1
    assert cycles(kernel, [[early], [late]], MACHINES[90]) == 15 + 5 + MACHINES[90].barrier + 1


@pytest.mark.parametrize(
    ("stride", "size", "passes"), [(4, 4, 1), (8, 4, 2), (128, 4, 32), (0, 4, 1), (16, 16, 4), (64, 16, 16)]
)
def test_bank_conflicts(stride: int, size: int, passes: int) -> None:
    assert wavefronts(np.arange(32) * stride, size) == passes


def test_sectors_of_a_load() -> None:
    assert sectors(np.arange(32) * 4, 4) == 4
    assert sectors(np.arange(32) * 64, 4) == 32


def test_blocks_of_a_multiprocessor() -> None:
    kernel = Kernel("k", registers=128)
    assert blocks_at_once(kernel, MACHINES[90], 128, 1024) == 4  # registers
    assert blocks_at_once(kernel, MACHINES[90], 128, 100 * 1024) == 2  # shared memory
    assert blocks_at_once(Kernel("k", registers=16), MACHINES[87], 256, 0) == 6  # warps


LOOP = (
    "S2R R0, SR_TID.X | stall 2 write 0",
    "MOV R1, RZ | stall 4 wait 0b1",
    "ISETP.LT.AND P1, PT, R0, 0x10, PT | stall 8",
    "BSSY B0, `(join) | stall 2",
    "@P1 BRA `(join) | stall 5",
    "IADD3 R1, R1, 0x64, RZ | stall 4",
    "BSYNC B0 | stall 5",
    "IADD3 R1, R1, 0x1, RZ | stall 4",
    "LOP3.LUT R2, R1, 0x3, RZ, 0xc0, !PT | stall 4",
    "ISETP.NE.AND P0, PT, R2, RZ, PT | stall 8",
    "@P0 BRA `(again) | stall 5",
    "IMAD.WIDE R4, R0, 0x4, c[0x0][0x160] | stall 4",
    "STG.E [R4.64], R1 | stall 2",
    "EXIT",
)
LOOP_LABELS = {"join": 6, "again": 7}


def _launch(array: np.ndarray) -> Launch:
    return Launch("k", (1, 1, 1), (32, 1, 1), 0, (np.uint64(array.ctypes.data).tobytes(),))


def test_machine_code_is_executed_with_its_branches_and_loops() -> None:
    kernel, out = _kernel(*LOOP, **LOOP_LABELS), np.zeros(32, np.uint32)
    kernel.parameters = [(0, 8)]
    (trace,) = run_block(Program(kernel, _launch(out)), (0, 0, 0), Buffers([out]))
    # The upper half-warp adds 100, then all add 1 until they are a multiple of 4.
    assert out.tolist() == [4] * 16 + [104] * 16
    assert [place for place, _ in trace].count(5) == 1
    assert [place for place, _ in trace].count(7) == 4
    (hot,) = hot_loops(kernel, trace, 90, "IADD3")
    assert (hot.instructions, hot.units, hot.cycles) == (4, 1, 4 + 4 + 8 + 5)
    assert unguarded(kernel, trace) == []


def test_a_result_that_nobody_waits_for_is_found() -> None:
    kernel = _kernel("S2R R0, SR_TID.X | stall 2 write 0", "MOV R1, R0 | stall 4")
    assert unguarded(kernel, [(0, 0), (1, 0)]) == ["0x10 MOV R1, R0"]


def test_a_load_that_is_waited_for_before_any_work_is_found() -> None:
    load, work = "LDG.E R1, [R2.64] | write 3", "MUFU.EX2 R4, R4 | stall 1"
    late = _kernel(load, work, work, "FADD R5, R1, R1 | wait 0b1000")
    assert waits_for_loads(late, [(i, 0) for i in range(4)], "MUFU.EX2") == [(3, 2)]
    early = _kernel(load, "FADD R5, R1, R1 | wait 0b1000", work, work)
    assert waits_for_loads(early, [(i, 0) for i in range(4)], "MUFU.EX2") == [(1, 0)]


def test_an_unknown_instruction_and_a_foreign_address_are_errors() -> None:
    out = np.zeros(4, np.uint32)
    kernel = _kernel("HMMA.16816.F32 R0, R4, R8, R0", "EXIT")
    kernel.parameters = [(0, 8)]
    with pytest.raises(MimambaError, match=r"HMMA\.16816"):
        run_block(Program(kernel, _launch(out)), (0, 0, 0), Buffers([out]))
    kernel = _kernel("LDG.E R0, [R2.64]", "EXIT")
    kernel.parameters = [(0, 8)]
    with pytest.raises(MimambaError, match="outside the buffers"):
        run_block(Program(kernel, _launch(out)), (0, 0, 0), Buffers([out]))


def test_names_of_kernels() -> None:
    assert (
        short_name("_ZN7mimamba39_GLOBAL__N__577b570c_7_scan_cu_c5b13e5f11scan_kernelIfEvv") == "scan_kernel"
    )
    assert short_name("_Z25selective_scan_fwd_kernelI3abcEv13SSMParamsBase") == "selective_scan_fwd_kernel"


def test_tables_of_a_record() -> None:
    row = {"problem": "scan", "ours_us": 6.7, "before_us": 39.15, "mamba_ssm_us": None}
    loop = {
        "problem": "scan",
        "kernel": "scan_kernel",
        "unit": "FFMA",
        "instructions": 15,
        "units": 10,
        "cycles": 25.0,
    }
    record = {
        "rows": [{"device": device, **row} for device in ("H200", "Orin Nano")],
        "loops": [{"sm": sm, **loop} for sm in (87, 90, 90)],
    }
    assert tables.times(record) == [("scan", "39.15", "6.7", "", "39.15", "6.7", "")]
    assert tables.loops(record) == [
        ("`scan_kernel`, scan", "FFMA", "1.50, 2.50", "1.50, 2.50", ""),
        ("`scan_kernel`, scan", "FFMA", "", "1.50, 2.50", ""),
    ]


def _have_nvdisasm() -> bool:
    try:
        return bool(sass.find_nvdisasm())
    except DependencyError:
        return False


needs_tools = pytest.mark.skipif(
    shutil.which("nvcc") is None or not _have_nvdisasm(),
    reason="needs nvcc 12.6 or newer on PATH and nvdisasm: pip install nvidia-cuda-nvdisasm (no GPU)",
)
H200 = DEVICES["H200"]


class _Compiled:
    def __init__(self, folder: Path) -> None:
        files, flags = sorted(KERNELS.glob("*.cu")), ["-DMIMAMBA_HOT_ONLY"]
        self.library: Library = build_library(files, folder, flags)
        self.kernels = build_cubins([f for f in files if f.stem != "c_api"], folder, 90, flags)

    def trace(self, problem, wanted: str = "") -> list[tuple[Kernel, list[tuple[int, int]]]]:
        """The kernels that a problem launches, each with the path of its first warp."""
        found = []

        def each(launch: Launch) -> None:
            kernel = find(self.kernels, launch.kernel)
            found.append((kernel, run_block(Program(kernel, launch), (0, 0, 0), Buffers(problem.arrays))[0]))

        self.library.launches(problem.launch, self.kernels, each)
        return [one for one in found if wanted in short_name(one[0].name)]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> _Compiled:
    return _Compiled(tmp_path_factory.mktemp("kernel_cycles"))


@needs_tools
@pytest.mark.slow
@pytest.mark.timeout(1200)  # the first of them compiles
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_executed_machine_code_scans(compiled, dtype: str) -> None:
    case = ScanCase(64, 70, dtype)
    problem = scan_problem(case, compiled.library, H200)
    measure(problem, compiled.library, compiled.kernels, H200, "MUFU.EX2", whole=True)
    assert scan_error(case, problem) <= (1e-5 if dtype == "float32" else 2e-3)


@needs_tools
@pytest.mark.slow
@pytest.mark.timeout(1200)  # the first of them compiles
def test_the_executed_machine_code_is_the_temporal_block(compiled) -> None:
    problem = mstb_problem(MstbCase(), compiled.library, H200)
    found = measure(problem, compiled.library, compiled.kernels, H200, "FFMA", whole=True)
    assert mstb_error(MstbCase(), problem) <= 1e-5
    # The budget of a temporal block by the model, on an H200.
    assert sum(one.us for one in found) <= 18
    # A multiply-add costs at most 1.35 issue slots: loads of taps and samples among them.
    (conv,) = (one for one in found if one.kernel == "conv_kernel")
    assert all(hot.instructions <= 1.35 * hot.units for hot in conv.loops)
    assert conv.loops


@needs_tools
@pytest.mark.slow
@pytest.mark.timeout(1200)  # the first of them compiles
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("windows", [1, 64])
def test_the_scan_waits_for_no_prefetch_before_it_computes(compiled, dtype: str, windows: int) -> None:
    """Twice the steps are twice the tiles: waits with no work before them must not become more."""
    exposed = []
    for steps in (512, 1024):
        problem = scan_problem(ScanCase(1536, steps, dtype, b=windows), compiled.library, H200)
        ((kernel, trace),) = compiled.trace(problem)
        assert unguarded(kernel, trace) == []
        exposed.append(sum(work < 16 for _, work in waits_for_loads(kernel, trace, "MUFU.EX2")))
        hot = hot_loops(kernel, trace, 90, "MUFU.EX2")[0]
        # Issue slots of a step and state, with everything that is done once a step or tile.
        assert hot.instructions <= 15 * hot.units
    assert exposed[1] == exposed[0]


@needs_tools
@pytest.mark.slow
@pytest.mark.timeout(1200)  # the first of them compiles
def test_the_spectrum_reads_its_samples_in_one_round_trip(compiled) -> None:
    waits = []
    for steps in (128, 512):
        problem = mstb_problem(MstbCase(l=steps), compiled.library, H200)
        ((kernel, trace),) = compiled.trace(problem, "spectrum")
        assert unguarded(kernel, trace) == []
        waits.append(len(waits_for_loads(kernel, trace, "FFMA")))
    assert waits[1] <= waits[0] + 3


@needs_tools
@pytest.mark.slow
@pytest.mark.timeout(1200)  # the first of them compiles
def test_long_scans_are_extrapolated(compiled) -> None:
    device = Device("small", 90, 8, 1.755, 227 * 1024, 1000)

    def at(steps: int):
        problem = scan_problem(ScanCase(64, steps, "float32"), compiled.library, device)
        return measure(problem, compiled.library, compiled.kernels, device, "MUFU.EX2")

    (guess,), (executed,) = extrapolated(at(512), at(1024), (512, 1024, 2048)), at(2048)
    assert guess.cycles == pytest.approx(executed.cycles, rel=0.01)
    assert guess.instructions == pytest.approx(executed.instructions, rel=0.01)
