"""Lines as nvidia-smi 570 prints them for --format=csv,noheader,nounits."""

from mimamba_edge.machine import discrete

H200 = "NVIDIA H200, 570.124.06, 9.0, 1980, 1980, 118.40, 700.00, 35, 142871, 143771, 0x0000000000000000\n"
HOT = (
    "NVIDIA GeForce RTX 4070 Laptop GPU, 570.86, 8.9, 810, 3105, 55.02, [N/A], 87, 5000, 8188, "
    "0x0000000000000064\n"
)


def test_figures() -> None:
    (gpu,) = discrete.parse(H200)
    assert (gpu.name, gpu.driver, gpu.sm) == ("NVIDIA H200", "570.124.06", 90)
    assert (gpu.clock_mhz, gpu.max_clock_mhz) == (1980, 1980)
    assert (gpu.power_w, gpu.power_limit_w, gpu.temperature_c) == (118.4, 700, 35)
    assert (gpu.free_mib, gpu.total_mib) == (142871, 143771)
    assert gpu.throttled == ()


def test_reasons_and_what_is_not_measured() -> None:
    # 0x64 = 0x40 hardware thermal + 0x20 software thermal + 0x04 software power cap.
    _, gpu = discrete.parse(H200 + HOT)
    assert gpu.throttled == ("power cap", "thermal slowdown (software)", "thermal slowdown (hardware)")
    assert gpu.power_limit_w is None
    # Idle (1) and a set application clock (2) slow nothing down that was asked for.
    (idle,) = discrete.parse(H200.replace("0x0000000000000000", "0x0000000000000003"))
    assert idle.throttled == ()


def test_other_text_is_no_gpu() -> None:
    assert discrete.parse("No devices were found\n") == []
    assert discrete.parse("") == []


def test_drivers_before_535_know_the_old_name_of_the_reasons() -> None:
    asked = []

    def ask(arguments):
        asked.append(arguments[0])
        return None if "clocks_event_reasons" in arguments[0] else H200

    assert len(discrete.gpus(ask)) == 1
    assert "clocks_throttle_reasons.active" in asked[1]
    assert discrete.gpus(lambda arguments: None) == []
