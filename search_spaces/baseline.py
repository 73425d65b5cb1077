"""Methods that run beside the search."""

from typing import Any, get_args

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from search_spaces.errors import shown
from search_spaces.method import MethodName
from search_spaces.part import Name, Part, mistaken


def _without_empty_label(schema: dict[str, Any]) -> None:
    del schema["properties"]["label"]["default"]


class Baseline(Part):
    """A method with its own defaults, or with some settings of method and training changed.

    In a space file a bare method name is enough. The label is the method's name where none is given.
    """

    model_config = ConfigDict(json_schema_extra=_without_empty_label)

    method: MethodName = Field(description="the method that is run")
    label: Name = Field(default="", description="the name on plots and of files; by default the method's")
    changes: dict[str, Any] = Field(
        default={}, alias="set", description="settings that differ, such as {training.lr: 5.0e-4}"
    )

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"method": data}
        if not isinstance(data, dict | Baseline):
            raise mistaken(f"expects a method's name or a mapping, got {shown(data)}")
        if (
            isinstance(data, dict)
            and data.get("label") is None
            and data.get("method") in get_args(MethodName)
        ):
            return data | {"label": data["method"]}
        return data

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Either a method's name or the whole mapping."""
        return {"anyOf": [{"enum": list(get_args(MethodName))}, handler(schema)]}
