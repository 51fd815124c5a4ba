"""A readable name for a run that was given none."""

from typing import Final
from uuid import UUID

KINDS: Final = """
    amber ashen bright brisk calm clear cobalt cool copper coral crisp dapper dusky eager early even fair fleet
    gentle golden grand hardy hazel honest humble ivory jade keen kind light lively loyal lucid mellow mild misty
    modest noble olive pale patient plain proud quick quiet rapid rosy royal rustic sage silver sleek smooth solid
    steady still stout sturdy sunny swift tidy vivid warm wise
"""
STONES: Final = """
    agate alabaster amethyst andesite basalt beryl bluestone calcite carnelian chalk chert citrine cobble coral
    corundum diorite dolerite dolomite felsite flint gabbro garnet gneiss granite greywacke gypsum hornfels jasper
    jet kyanite lapis limestone magnetite malachite marble marl mica moonstone mudstone obsidian olivine onyx opal
    pebble peridot porphyry pumice pyrite quartz quartzite rhyolite sandstone schist selenite serpentine shale
    slate soapstone spinel sunstone talc topaz travertine tuff zircon
"""


def of_run(run_id: UUID) -> str:
    """Such as "quiet-basalt-417"; always the same for the same id."""
    kinds, stones = KINDS.split(), STONES.split()
    number = run_id.int & (1 << 62) - 1  # the random bits of a UUIDv7
    number, kind = divmod(number, len(kinds))
    number, stone = divmod(number, len(stones))
    return f"{kinds[kind]}-{stones[stone]}-{number % 1000}"
