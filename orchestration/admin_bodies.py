"""Bodies of the admin routes: strict, without unknown fields, refused without an echo of them."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class StrictBody(BaseModel):
    """Nothing but what it says."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class ProductBody(StrictBody):
    """About one product."""

    product: str


class BodyError(Exception):
    """A body that is not what its route takes."""

    def __init__(self, problems: Any) -> None:
        super().__init__()
        self.problems = problems


_Parsed = TypeVar("_Parsed", bound=StrictBody)


def parsed(kind: type[_Parsed], body: bytes) -> _Parsed:
    """The body as its route takes it.

    Raises:
        BodyError: It is not.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise BodyError(problems) from None
