"""The energy that a device uses, where it tells: NVIDIA's counters of a GPU, the kernel's (RAPL) of a processor.

A counter counts for everybody who uses the device, not for this process alone.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

POWERCAP = Path("/sys/class/powercap")
"""Where Linux has a processor's counters; most systems let nobody but root read them."""

Counter = Callable[[], float | None]
"""Returns joules since some time in the past; None where they can't be told any more."""


class Meter:
    """Counts joules from one reading to the next.

    Args:
        device: whose; one that tells nothing makes every reading None.
        powercap: folder of the processor's counters.
    """

    def __init__(self, device: torch.device, powercap: Path = POWERCAP) -> None:
        self._counter: Counter = _of_gpu(device) if device.type == "cuda" else _Processor(powercap)
        if device.type == "mps":
            self._counter = _unknown
        self._last = self._counter()

    def read(self) -> float | None:
        """Return the joules since the last reading, or None where they are not known."""
        before, self._last = self._last, self._counter()
        return None if before is None or self._last is None else self._last - before


class _Processor:
    """The packages of a processor, each by a counter in microjoules that begins anew at its end."""

    def __init__(self, folder: Path) -> None:
        zones = sorted(folder.glob("intel-rapl:[0-9]*"))  # AMD's are called so as well
        # A part of a package has two colons; the whole platform's zone (`psys`) has the packages in it.
        self.zones = [zone for zone in zones if zone.name.count(":") == 1 and _name(zone) != "psys"]
        self.last: Mapping[Path, int] = {}
        self.total = 0.0

    def __call__(self) -> float | None:
        if not self.zones:
            return None
        try:
            now = {zone: int((zone / "energy_uj").read_text()) for zone in self.zones}
            for zone, value in now.items():
                gone = value - self.last.get(zone, value)
                span = int((zone / "max_energy_range_uj").read_text()) if gone < 0 else 0
                self.total += (gone + span) / 1e6
        except (OSError, ValueError):
            return None
        self.last = now
        return self.total


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text().strip()
    except (OSError, ValueError):
        return ""


def _of_gpu(device: torch.device) -> Counter:
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # no such package, driver, or counter: each has errors of its own, and none matters to a run
        return _unknown

    def read() -> float | None:
        try:
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
        except pynvml.NVMLError:
            return None

    return read


def _unknown() -> float | None:
    return None
