"""Fields by name: what may be asked of a run, and what each is compared with."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Final

from db.conditions import Area, Attribute, Field


class Kind(Enum):
    """What a field is compared with, in the words of a message."""

    ANY = "a text, a number, true or false"
    TEXT = "a text in quotes"
    NUMBER = "a number"
    FLAG = "true or false"
    TIME = "a time, such as '2026-01-31', '2026-01-31T12:00:00Z' or '-7d'"
    ID = "an id in quotes"
    STATUS = "a status in quotes"


class Unknown(Exception):
    """There is no such field; `suggestions` has names that may be meant."""

    def __init__(self, message: str, suggestions: Iterable[str]) -> None:
        super().__init__(message)
        self.message = message
        self.suggestions = tuple(suggestions)


# The first name of an area is the one that we write; the others are read too.
AREAS: Final[Mapping[Area, tuple[str, ...]]] = {
    Area.METRIC: ("metrics", "metric"),
    Area.PARAM: ("params", "param", "parameters", "parameter"),
    Area.TAG: ("tags", "tag"),
    Area.ATTRIBUTE: ("attributes", "attribute", "attr", "run"),
    Area.SOURCE: ("source",),
    Area.DATASET: ("datasets", "dataset"),
}

ATTRIBUTES: Final[Mapping[Attribute, Kind]] = {
    Attribute.ID: Kind.ID,
    Attribute.NAME: Kind.TEXT,
    Attribute.STATUS: Kind.STATUS,
    Attribute.EXPERIMENT: Kind.TEXT,
    Attribute.EXPERIMENT_ID: Kind.ID,
    Attribute.USER: Kind.TEXT,
    Attribute.CREATED_AT: Kind.TIME,
    Attribute.STARTED_AT: Kind.TIME,
    Attribute.FINISHED_AT: Kind.TIME,
    Attribute.DURATION: Kind.NUMBER,
    Attribute.GROUP: Kind.TEXT,
    Attribute.PARENT: Kind.ID,
    Attribute.ANCESTOR: Kind.ID,
}
SOURCE: Final[Mapping[str, Kind]] = {
    "commit": Kind.TEXT,
    "branch": Kind.TEXT,
    "remote": Kind.TEXT,
    "dirty": Kind.FLAG,
    "entryPoint": Kind.TEXT,
}
DATASET: Final[Mapping[str, Kind]] = {"name": Kind.TEXT, "digest": Kind.TEXT, "context": Kind.TEXT}

# Names that MLflow has for attributes, beside ours.
ALIASES: Final[Mapping[str, Attribute]] = {
    "run_id": Attribute.ID,
    "run_name": Attribute.NAME,
    "user_id": Attribute.USER,
    "created": Attribute.CREATED_AT,
    "start_time": Attribute.STARTED_AT,
    "end_time": Attribute.FINISHED_AT,
}


def _plain(name: str) -> str:
    """What is the same for "created_at", "Created At" and "createdAt"."""
    return name.replace("_", "").replace(" ", "").casefold()


_AREA_OF: Final = {name: area for area, names in AREAS.items() for name in names}
_KEYS: Final[Mapping[Area, Mapping[str, str]]] = {
    Area.ATTRIBUTE: {_plain(name): name for name in ATTRIBUTES}
    | {_plain(name): attribute for name, attribute in ALIASES.items()},
    Area.SOURCE: {_plain(name): name for name in SOURCE},
    Area.DATASET: {_plain(name): name for name in DATASET},
}


def find(area_name: str | None, key: str) -> Field:
    """The field that is written `area_name.key`, or only `key` for an attribute. Raises `Unknown`."""
    if area_name is None:
        return _attribute(key)
    area = _AREA_OF.get(area_name.casefold())
    if area is None:
        near = [f"{name}.{key}" for name in _near(area_name, _AREA_OF)]
        raise Unknown(f"there is no field {area_name}.{key}", near or _keyed(f"{area_name}.{key}"))
    if area not in _KEYS:
        return Field(area, key)
    known = _KEYS[area]
    if _plain(key) not in known:
        names = [f"{AREAS[area][0]}.{known[near]}" for near in _near(_plain(key), known)]
        raise Unknown(f"there is no {AREAS[area][0]}.{key}", names)
    return Field(area, known[_plain(key)])


def _attribute(key: str) -> Field:
    known = _KEYS[Area.ATTRIBUTE]
    if _plain(key) in known:
        return Field(Area.ATTRIBUTE, known[_plain(key)])
    near = dict.fromkeys(known[name] for name in _near(_plain(key), known))
    raise Unknown(f"there is no field {key}", near or _keyed(key))


def _keyed(key: str) -> list[str]:
    """Fields that have the key, if it was meant as one."""
    return [f"{AREAS[area][0]}.{key}" for area in (Area.PARAM, Area.METRIC, Area.TAG)]


def _near(name: str, names: Iterable[str]) -> list[str]:
    return get_close_matches(name.casefold()[:100], names, n=2)


def kind(field: Field) -> Kind:
    """What the field is compared with."""
    match field.area:
        case Area.ATTRIBUTE:
            return ATTRIBUTES.get(Attribute(field.key), Kind.ID)  # the id of a user is asked for by us alone
        case Area.METRIC:
            return Kind.NUMBER
        case Area.PARAM:
            return Kind.ANY
        case Area.SOURCE:
            return SOURCE[field.key]
    return Kind.TEXT
