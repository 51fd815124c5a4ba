"""What the machine does while a run goes on, as series `system/...` whose step is the second since they began.

Off unless a run is started with `system_metrics`. Then a thread of its own measures every few seconds; what it cannot
measure on this machine is left out, and it never gets in the way of the run.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol
from weakref import ref

from runstone.errors import Invalid, RunstoneError

log = logging.getLogger("runstone")

EVERY_S: Final = 10.0
EVERY_S_MIN: Final = 0.1
PREFIX: Final = "system/"

Readings = Iterator[tuple[str, float]]
Reader = Callable[[], Readings]


class Logs(Protocol):
    """A run, as far as a monitor knows it."""

    id: str

    def log_aside(self, metrics: Mapping[str, float], step: int) -> None:
        """Points that leave the step of `log` as it is."""


def interval_s(wanted: bool | float) -> float | None:
    """The seconds between two measurements, None when none are wanted. Raises `Invalid`."""
    if wanted is False or wanted is True:
        return EVERY_S if wanted else None
    if not wanted >= EVERY_S_MIN:
        raise Invalid(f"system_metrics every {wanted} s", path="system_metrics", limit=f"{EVERY_S_MIN} s or more")
    return float(wanted)


class Monitor:
    """Measures for a run until it is stopped, the run has ended, or nobody holds the run any more."""

    def __init__(self, run: Logs, every_s: float) -> None:
        self._run = ref(run)
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._measure, name=f"runstone-system-{run.id[-8:]}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Measure no more; does not wait."""
        self._stopping.set()

    def _measure(self) -> None:
        readers = [*_machine(), *_gpus()]
        began = time.monotonic()
        while readers and not self._stopping.is_set():
            found = {f"{PREFIX}{name}": value for reader in readers for name, value in _readings(reader)}
            if not self._log(found, int(time.monotonic() - began)):
                return
            self._stopping.wait(self._every_s)

    def _log(self, found: Mapping[str, float], step: int) -> bool:
        run = self._run()
        if run is None:
            return False
        try:
            run.log_aside(found, step)
        except RunstoneError:  # the run has ended
            return False
        return True


def _readings(reader: Reader) -> list[tuple[str, float]]:
    try:
        return list(reader())
    except Exception:  # noqa: BLE001  # a sensor that fails is not measured this time
        return []


def _machine() -> Iterator[Reader]:
    """Processors, memory, disk and network of the machine, and the memory of this process."""
    try:
        import psutil
    except ImportError:
        log.warning("system metrics need psutil: pip install 'runstone[system]'")
        return
    process = psutil.Process()
    psutil.cpu_percent()  # the first call has nothing to compare with
    process.cpu_percent()

    def processors() -> Readings:
        yield "cpu_percent", psutil.cpu_percent()
        yield "process_cpu_percent", process.cpu_percent()

    def memory() -> Readings:
        yield "memory_percent", psutil.virtual_memory().percent
        yield "process_memory_bytes", process.memory_info().rss

    def disk() -> Readings:
        counted = psutil.disk_io_counters()
        if counted is not None:
            yield "disk_read_bytes", counted.read_bytes
            yield "disk_written_bytes", counted.write_bytes

    def network() -> Readings:
        counted = psutil.net_io_counters()
        yield "network_sent_bytes", counted.bytes_sent
        yield "network_received_bytes", counted.bytes_recv

    yield from (processors, memory, disk, network)


def _gpus() -> Iterator[Reader]:
    """The GPUs of NVIDIA, where their driver and its Python package are."""
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except Exception:  # noqa: BLE001  # no package, no driver, no GPU
        return
    for index in range(count):
        yield from _gpu(pynvml, pynvml.nvmlDeviceGetHandleByIndex(index), f"gpu.{index}")


def _gpu(nvml: Any, device: Any, name: str) -> Iterator[Reader]:
    def load() -> Readings:
        used = nvml.nvmlDeviceGetUtilizationRates(device)
        yield f"{name}/percent", used.gpu
        yield f"{name}/memory_activity_percent", used.memory

    def memory() -> Readings:
        yield f"{name}/memory_bytes", nvml.nvmlDeviceGetMemoryInfo(device).used

    def power() -> Readings:
        yield f"{name}/power_watts", nvml.nvmlDeviceGetPowerUsage(device) / 1000

    def temperature() -> Readings:
        yield f"{name}/temperature_celsius", nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU)

    yield from (load, memory, power, temperature)
